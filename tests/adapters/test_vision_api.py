"""The vision API's client, against a scripted server on this machine."""

import asyncio
import gzip
import re
import socket
import time
from contextlib import suppress

import httpx
import orjson
import pytest

from vision_pipeline.adapters.vision_api.client import MAX_REPLY_BYTES, VisionApi
from vision_pipeline.adapters.vision_api.probe import ModelListing, list_models
from vision_pipeline.core.activity import Activity
from vision_pipeline.core.config import LimitsConfig, RetryConfig
from vision_pipeline.core.errors import (
    AccessError,
    EndpointError,
    ErrorCode,
    ItemError,
    PipelineError,
)
from vision_pipeline.transport.clock import SYSTEM_CLOCK, Clock
from vision_pipeline.transport.endpoint import Endpoint

KEY = "sk-very-secret-of-24-chars"
BODY = b'{"model": "m"}'
WIDE = LimitsConfig(requests_per_minute=6_000_000, tokens_per_minute=600_000_000)
RATE_LIMITED = b'{"object":"error","message":"Rate limit exceeded","code":"1300"}'
GATEWAY_PAGE = b"<html><body>520: Web server is returning an unknown error</body></html>"


def completion(text="a cat", completion_tokens=7):
    return orjson.dumps(
        {
            "model": "m",
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": completion_tokens},
        }
    )


OK = completion()


def answer(status=200, body=OK, **headers):
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def after(gate, reply):
    """A reply that waits for an event, or for others at a barrier."""

    async def wait():
        await gate.wait()
        return reply

    return wait


async def dropped():
    return b""


async def silence():
    await asyncio.Event().wait()


class Provider:
    """A server that answers by a script, the last answer over and over."""

    def __init__(self):
        self.script = [answer()]
        self.requests = []
        self.arrived = asyncio.Event()
        self._open = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *error):
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._open.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1]) if length else 0)
        self.requests.append((head, body))
        self.arrived.set()
        reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        reply = await reply() if callable(reply) else reply
        writer.write(reply)
        await writer.drain()
        if not reply or b"Connection: close" in reply:
            raise OSError("the script says to hang up")


class Clockwork:
    """Time that passes by waiting, which takes none, and a little with every look."""

    def __init__(self):
        self.naps = []
        self.now_s = 0.0

    def now(self):
        self.now_s += 0.001
        return self.now_s

    async def sleep(self, seconds):
        self.naps.append(seconds)
        self.now_s += seconds


@pytest.fixture
async def provider():
    async with Provider() as server:
        yield server


@pytest.fixture
def clockwork():
    return Clockwork()


@pytest.fixture
async def connect(provider, clockwork):
    """Makes clients of the provider, or of another address."""
    opened = []

    def api(limits=WIDE, base_url=None, clock=clockwork, activity=None, key=KEY, **retry):
        async def endpoint():
            return Endpoint(base_url or provider.base_url, key, use_proxy=False)

        client = VisionApi(
            endpoint,
            limits=limits,
            retry=RetryConfig(**retry),
            clock=Clock(clock.now, clock.sleep),
            activity=activity,
        )
        opened.append(client)
        return client

    yield api
    for client in opened:
        await client.aclose()


def ask(api, body=BODY):
    return api.ask(body, estimated_tokens=10)


async def error_of(asking):
    with pytest.raises(PipelineError) as caught:
        await asking
    assert KEY not in str(caught.value)
    return caught.value


async def let_run():
    for _ in range(20):
        await asyncio.sleep(0)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# --- one request


async def test_a_reply_comes_back_byte_for_byte(provider, connect):
    reply = await ask(connect())
    [(head, body)] = provider.requests
    assert (reply.body, reply.attempts) == (OK, 1)
    assert (body, head.splitlines()[0]) == (BODY, "POST /v1/chat/completions HTTP/1.1")
    assert f"authorization: Bearer {KEY}" in head


async def test_a_reply_tells_how_long_it_waited_and_took(provider, connect, clockwork):
    provider.script = [answer(503), answer(503, Retry_After="8"), answer()]
    reply = await ask(connect())
    assert reply.queued_s == pytest.approx(sum(clockwork.naps), abs=0.1)
    assert 0 < reply.latency_s < 0.1
    assert reply.answered_at.utcoffset().total_seconds() == 0


async def test_a_body_larger_than_a_mebibyte_goes_out_whole(provider, connect):
    large = b"x" * 3_000_000
    await ask(connect(), large)
    [(head, body)] = provider.requests
    assert body == large
    assert "chunked" not in head.lower()


async def test_no_key_no_header(provider, connect):
    await ask(connect(key=None))
    assert "authorization" not in provider.requests[0][0].lower()


async def test_the_endpoint_is_asked_for_once_and_only_when_needed(provider):
    asked = []

    async def endpoint():
        asked.append(1)
        return Endpoint(provider.base_url, None, use_proxy=False)

    api = VisionApi(endpoint, limits=WIDE, retry=RetryConfig())
    await api.aclose()
    assert asked == []
    await asyncio.gather(*(ask(api) for _ in range(5)))
    await api.aclose()
    assert asked == [1]


async def test_no_more_requests_than_allowed_are_on_the_wire(provider, connect):
    activity, pair = Activity(now_s=time.monotonic), asyncio.Barrier(2)
    provider.script = [after(pair, answer())]
    limits = WIDE.model_copy(update={"max_in_flight": 2})
    api = connect(limits, activity=activity)
    await asyncio.gather(*(ask(api) for _ in range(8)))
    assert (activity.most_in_flight, activity.in_flight) == (2, 0)


# --- what is final


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(401, b'{"detail":"Invalid API Key"}'), AccessError),
        (answer(403, b'{"message":"Inactive subscription"}'), AccessError),
        (answer(404, b'{"detail":"Not Found"}'), EndpointError),
        (answer(404, b'{"message":"no Route matched with those values"}'), EndpointError),
        (answer(400, b'{"message":"Invalid model: m","code":"1500"}'), EndpointError),
        (answer(429, RATE_LIMITED, x_ratelimit_limit_req_minute="0"), AccessError),
    ],
)
async def test_what_no_item_can_pass_stops_the_run_at_once(provider, connect, reply, kind):
    provider.script = [reply]
    assert type(await error_of(ask(connect()))) is kind
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(422, b'{"detail":[{"loc":["body"],"msg":"bad"}]}'), ErrorCode.REFUSED_REQUEST),
        (answer(413, b"Request size limit exceeded"), ErrorCode.IMAGE_TOO_LARGE),
        (answer(403, b'{"message":"no","type":"guardrail"}'), ErrorCode.CONTENT_FILTERED),
    ],
)
async def test_what_this_item_cannot_pass_gives_it_up_at_once(provider, connect, reply, code):
    provider.script = [reply]
    error = await error_of(ask(connect()))
    assert (type(error), error.code, len(provider.requests)) == (ItemError, code, 1)


async def test_a_form_that_others_were_served_with_is_one_items_fault(provider, connect):
    provider.script = [answer(), answer(422, b'{"detail":"Extra inputs are not permitted"}')]
    api = connect()
    await ask(api)
    error = await error_of(ask(api))
    assert (type(error), error.code) == (ItemError, ErrorCode.REFUSED_REQUEST)


async def test_a_giant_reply_is_cut_off(provider, connect):
    provider.script = [answer(200, bytes(MAX_REPLY_BYTES + 1))]
    error = await error_of(ask(connect()))
    assert (error.code, len(provider.requests)) == (ErrorCode.INVALID_ANSWER, 1)


# --- what may pass


@pytest.mark.parametrize(
    "failure",
    [
        answer(500, b'{"message":"internal"}'),
        answer(502, b"An invalid response was received from the upstream server"),
        answer(520, GATEWAY_PAGE),
        answer(408, b""),
        answer(200, b""),
        answer(200, OK[:40]),
        answer(200, b'{"choices":[]}'),
        answer(Connection="close")[:-10],
        dropped,
    ],
)
async def test_what_may_pass_is_tried_again(provider, connect, clockwork, failure):
    provider.script = [answer(), failure, dropped, answer()]
    api = connect()
    await ask(api)
    reply = await ask(api)
    assert (reply.body, reply.attempts, len(provider.requests)) == (OK, 3, 4)
    assert len(clockwork.naps) == 2


async def test_a_reply_in_layers_of_compression_is_not_unpacked(provider, connect):
    bomb = gzip.compress(gzip.compress(bytes(10**8)))
    provider.script = [answer(200, bomb, Content_Encoding="gzip, gzip"), answer()]
    reply = await ask(connect())
    assert (reply.body, reply.attempts) == (OK, 2)


async def test_silence_is_a_timeout(provider, connect):
    provider.script = [answer(), silence]
    api = connect(timeout_s=0.02, max_elapsed_s=3)
    await ask(api)
    error = await error_of(ask(api))
    assert error.code is ErrorCode.TIMEOUT
    assert "0.02 s" in error.detail


async def test_waits_grow_and_a_wait_that_the_server_asks_for_is_kept(provider, connect, clockwork):
    provider.script = [answer(503, b""), answer(503, b""), answer(503, b"", Retry_After="9")]
    provider.script.append(answer())
    await ask(connect())
    first, second, asked_for = clockwork.naps
    assert 0.25 <= first <= 0.5 <= second <= 1
    assert asked_for == 9


async def test_an_item_is_given_up_after_its_attempts(provider, connect):
    provider.script = [answer(520, GATEWAY_PAGE)]
    error = await error_of(ask(connect(max_attempts=4)))
    assert (error.code, len(provider.requests)) == (ErrorCode.MODEL_UNAVAILABLE, 4)
    assert "after 4 attempts" in error.detail
    assert "HTTP 520" in error.detail


async def test_an_item_is_given_up_after_its_time(provider, connect, clockwork):
    provider.script = [answer(503, b"", Retry_After="30")]
    error = await error_of(ask(connect(max_attempts=100, max_elapsed_s=100)))
    assert (error.code, len(provider.requests)) == (ErrorCode.MODEL_UNAVAILABLE, 4)
    assert clockwork.naps == [30, 30, 30]


async def test_no_wait_is_begun_that_would_end_too_late(provider, connect, clockwork):
    provider.script = [answer(503, b"", Retry_After="86400")]
    await error_of(ask(connect()))
    assert clockwork.naps == []


async def test_waiting_for_the_limit_uses_up_no_time_of_an_item(provider, connect):
    provider.script = [answer(429, b"", Retry_After="90"), answer(502, b""), answer()]
    reply = await ask(connect(max_elapsed_s=100))
    assert (reply.attempts, len(provider.requests)) == (2, 3)


# --- no server at all


async def test_a_closed_port_stops_the_run(connect):
    error = await error_of(ask(connect(base_url=f"http://127.0.0.1:{free_port()}/v1")))
    assert type(error) is EndpointError
    assert "Connect" in str(error)


async def test_a_server_that_never_answers_stops_the_run(provider, connect, clockwork):
    provider.script = [dropped]
    error = await error_of(ask(connect()))
    assert (type(error), len(provider.requests)) == (EndpointError, 3)
    assert len(clockwork.naps) == 2


@pytest.mark.parametrize("patience", [{"max_attempts": 1}, {"max_elapsed_s": 0}])
async def test_also_with_little_patience_it_is_the_server_and_no_item(provider, connect, patience):
    provider.script = [dropped]
    error = await error_of(ask(connect(**patience)))
    assert (type(error), len(provider.requests)) == (EndpointError, 1)


async def test_a_server_that_is_lost_later_is_waited_for_and_costs_no_attempts(
    provider, connect, clockwork
):
    provider.script = [answer(), dropped]
    api = connect(max_elapsed_s=100)
    await ask(api)
    error = await error_of(ask(api))
    assert error.code is ErrorCode.MODEL_UNAVAILABLE
    assert len(clockwork.naps) > 6
    assert 25 <= sum(clockwork.naps) <= 100


@pytest.mark.parametrize(
    "address", ["http://", "http://[::1", "http://a:99999/v1", "http://a b/v1"]
)
async def test_an_address_that_is_none_stops_the_run(connect, address):
    assert type(await error_of(ask(connect(base_url=address)))) is EndpointError


async def test_an_endpoint_that_cannot_be_had_stops_every_request():
    async def broken():
        raise EndpointError("the emulator did not start")

    api = VisionApi(broken, limits=LimitsConfig(), retry=RetryConfig())
    outcomes = await asyncio.gather(*(ask(api) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EndpointError] * 3


# --- no key in any text


@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_a_server_that_repeats_the_key_does_not_spread_it(provider, connect, status):
    provider.script = [answer(status, b'{"message":"Incorrect key: ' + KEY.encode() + b'"}')]
    error = await error_of(ask(connect(max_attempts=1)))
    assert "Incorrect key: [key]" in str(error)


async def test_an_answer_may_hold_the_word_that_somebody_took_for_a_key(provider, connect):
    provider.script = [answer(200, completion("a local train"))]
    reply = await ask(connect(key="local"))
    assert reply.body == completion("a local train")


def test_an_address_with_credentials_is_refused_without_showing_them():
    with pytest.raises(EndpointError, match="api_key_env") as caught:
        Endpoint(f"http://user:{KEY}@localhost/v1", None)
    assert KEY not in str(caught.value)


async def test_a_netrc_file_does_not_get_in_the_way(provider, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    reply, [(head, _)] = await ask_by_environment(provider, provider.base_url)
    assert reply.body == OK
    assert f"Bearer {KEY}" in head


# --- a proxy


async def ask_by_environment(provider, base_url):
    async def endpoint():
        return Endpoint(base_url, KEY)

    api = VisionApi(endpoint, limits=WIDE, retry=RetryConfig())
    reply = await ask(api)
    await api.aclose()
    return reply, provider.requests


async def test_the_proxy_of_the_environment_is_used(provider, monkeypatch):
    address = provider.base_url.removesuffix("/v1").replace("//", "//me:pass@")
    monkeypatch.setenv("http_proxy", address)
    _, [(head, _)] = await ask_by_environment(provider, "http://api.invalid/v1")
    assert head.startswith("POST http://api.invalid/v1/chat/completions")
    assert "proxy-authorization: basic" in head.lower()


async def test_an_address_that_no_proxy_may_see_is_reached_without(provider, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    reply, _ = await ask_by_environment(provider, provider.base_url)
    assert reply.body == OK


@pytest.mark.parametrize("bad", [f"{KEY}\nX-Evil: 1", f"{KEY}é"])
async def test_a_key_that_no_header_can_carry_is_refused(provider, connect, bad):
    assert type(await error_of(ask(connect(key=bad)))) is AccessError
    assert provider.requests == []


def test_an_endpoint_shows_no_key():
    assert KEY not in repr(Endpoint("http://a/v1", KEY))


# --- the rate limit


async def test_a_refusal_by_rate_limit_uses_up_no_attempt(provider, connect, clockwork):
    provider.script = [answer(429, RATE_LIMITED)] * 5 + [answer()]
    reply = await ask(connect(max_attempts=1))
    assert (reply.attempts, len(provider.requests)) == (1, 6)
    assert clockwork.naps == pytest.approx([1, 2, 4, 8, 16], abs=0.1)


async def test_a_wait_that_a_refusal_names_is_kept(provider, connect, clockwork):
    provider.script = [answer(429, RATE_LIMITED, Retry_After="7"), answer()]
    await ask(connect())
    assert clockwork.naps == pytest.approx([7], abs=0.1)


async def test_a_refusal_pauses_all_workers_once(provider, connect, clockwork):
    refused = after(asyncio.Barrier(3), answer(429, RATE_LIMITED, Retry_After="7"))
    provider.script = [refused, refused, refused, answer()]
    api = connect()
    replies = await asyncio.gather(*(ask(api) for _ in range(3)))
    await ask(api)
    assert [reply.attempts for reply in replies] == [1, 1, 1]
    assert 7 <= clockwork.now_s < 8
    assert len(provider.requests) == 7


async def test_refusals_without_an_end_stop_the_run(provider, connect):
    provider.script = [answer(), answer(429, RATE_LIMITED)]
    api = connect(max_elapsed_s=120)
    await ask(api)
    error = await error_of(ask(api))
    assert type(error) is EndpointError
    assert "Rate limit exceeded" in str(error)


async def test_with_automatic_limits_one_request_goes_first(provider, connect):
    release = asyncio.Event()
    provider.script = [after(release, answer()), answer()]
    api = connect(LimitsConfig())
    asking = [asyncio.create_task(ask(api)) for _ in range(5)]
    await provider.arrived.wait()
    await let_run()
    alone = len(provider.requests)
    release.set()
    await asyncio.gather(*asking)
    assert (alone, len(provider.requests)) == (1, 5)


async def test_limits_that_a_refusal_names_are_kept_too(provider, connect):
    limit = {"x_ratelimit_limit_req_minute": "6", "Retry_After": "1"}
    provider.script = [answer(429, RATE_LIMITED, **limit), answer()]
    api = connect(LimitsConfig())
    await ask(api)
    second = asyncio.create_task(ask(api))
    await let_run()
    second.cancel()
    assert len(provider.requests) == 2


async def test_a_first_request_that_fails_lets_the_others_go(provider, connect):
    provider.script = [answer(400, b""), answer()]
    api = connect(LimitsConfig())
    outcomes = await asyncio.gather(*(ask(api) for _ in range(3)), return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes].count("ReceivedReply") == 2


async def test_a_first_request_that_is_cancelled_lets_the_others_go(provider, connect):
    release = asyncio.Event()
    provider.script = [after(release, answer(503, b"")), answer()]
    api = connect(LimitsConfig())
    first = asyncio.create_task(ask(api))
    await provider.arrived.wait()
    second = asyncio.create_task(ask(api))
    first.cancel()
    first.cancel()
    assert (await second).body == OK
    assert first.cancelled()


# --- cancelling


@pytest.fixture
async def held(provider, connect):
    """A request on the wire, the event that lets its reply go, and what is on the wire."""
    release, activity = asyncio.Event(), Activity(now_s=time.monotonic)
    provider.script = [after(release, answer())]
    asking = asyncio.create_task(ask(connect(activity=activity)))
    await provider.arrived.wait()
    return asking, release, activity


async def test_a_request_on_the_wire_outlasts_the_first_cancel(held):
    asking, release, activity = held
    asking.cancel()
    await let_run()
    assert (asking.done(), activity.in_flight) == (False, 1)
    release.set()
    assert (await asking).body == OK
    assert (asking.cancelling(), activity.in_flight) == (0, 0)


async def test_a_second_cancel_is_final(held):
    asking, _, activity = held
    asking.cancel()
    await let_run()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert activity.in_flight == 0


async def test_two_cancels_at_once_are_final_too(held):
    asking, _, activity = held
    asking.cancel()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert activity.in_flight == 0


@pytest.mark.parametrize("failure", [answer(503, b""), answer(429, RATE_LIMITED), b""])
async def test_after_a_cancel_nothing_is_tried_again(provider, connect, failure):
    release = asyncio.Event()
    provider.script = [after(release, failure), answer()]
    asking = asyncio.create_task(ask(connect()))
    await provider.arrived.wait()
    asking.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(provider.requests) == 1


async def test_a_refusal_after_a_cancel_is_known_and_counts(provider, connect):
    release = asyncio.Event()
    provider.script = [after(release, answer(422, b""))]
    asking = asyncio.create_task(ask(connect()))
    await provider.arrived.wait()
    asking.cancel()
    release.set()
    error = await error_of(asking)
    assert (error.code, asking.cancelling()) == (ErrorCode.REFUSED_REQUEST, 0)


async def test_whatever_waits_ends_at_the_first_cancel(provider, connect):
    class Standstill(Clockwork):
        async def sleep(self, seconds):
            await asyncio.Event().wait()

    provider.script = [answer(503, b"")]
    asking = asyncio.create_task(ask(connect(clock=Standstill())))
    await provider.arrived.wait()
    await let_run()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(provider.requests) == 1


def test_the_system_clock_runs_forward():
    before = time.monotonic()
    assert before <= SYSTEM_CLOCK.now() <= time.monotonic()


# --- what a server lists


def models(*rows):
    return answer(200, orjson.dumps({"object": "list", "data": list(rows)}))


async def listing(provider, model="m"):
    endpoint = Endpoint(f"{provider.base_url}/", KEY, use_proxy=False)
    return await asyncio.to_thread(list_models, endpoint, model)


@pytest.mark.parametrize(
    ("row", "vision"),
    [
        ({"id": "m", "capabilities": {"vision": True}}, True),
        ({"id": "other", "aliases": ["m"], "capabilities": {"vision": False}}, False),
        ({"id": "m", "aliases": None, "capabilities": None}, None),
        ({"id": "m", "capabilities": ["completion"]}, None),
        ({"id": "m", "capabilities": {}}, None),
    ],
)
async def test_a_model_is_found_by_id_or_alias(provider, row, vision):
    provider.script = [models({"id": "another"}, row)]
    assert await listing(provider) == ModelListing(count=2, listed=True, vision=vision)
    assert provider.requests[0][0].startswith("GET /v1/models HTTP/1.1")


async def test_a_model_that_is_not_listed_is_said_to_be_so(provider):
    provider.script = [models({"id": "another", "capabilities": {"vision": True}})]
    assert await listing(provider) == ModelListing(count=1, listed=False, vision=None)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_told_apart(provider, status):
    provider.script = [answer(status, KEY.encode())]
    assert type(await error_of(listing(provider))) is AccessError


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"data": 5}', b'{"data": [5]}', b'{"no": []}', KEY.encode()]
)
async def test_something_else_than_a_list_of_models_is_shown(provider, body):
    provider.script = [answer(200, body)]
    error = await error_of(listing(provider))
    assert type(error) is EndpointError
    assert "HTTP 200" in str(error)


@pytest.mark.parametrize("address", ["http://[::1", "http://127.0.0.1:1/v1"])
def test_a_list_that_cannot_be_had_names_the_address(address):
    with pytest.raises(EndpointError, match="models: ") as caught:
        list_models(Endpoint(address, KEY, use_proxy=False), "m")
    assert KEY not in str(caught.value)


WRITTEN = [
    b"k+e/y1",
    b"k%2Be%2Fy1",
    b"k%2be%2fy1",
    b"k+e\\/y1",
    b"k\\u002be\\u002fy1",
    b"k\\u002Be/y1",
    b"\\u006b\\u002B\\u0065\\u002f\\u0079\\u0031",
    b"k&#43;e&#x2F;y1",
]


@pytest.mark.parametrize("written", WRITTEN, ids=range(len(WRITTEN)))
def test_a_key_that_a_server_repeats_is_masked_however_it_is_written(written):
    endpoint = Endpoint(base_url="http://127.0.0.1/v1", api_key="k+e/y1")
    assert endpoint.without_key(b"refused: " + written + b"!") == b"refused: [key]!"
    masked = endpoint.without_key(b'{"message":"refused: ' + written + b'!"}')
    assert orjson.loads(masked) == {"message": "refused: [key]!"}


@pytest.mark.parametrize("content", [b'{"a":"\\u00e9 \\/"}', b"&#233; \\u00e9", b"\\ud800 \\/"])
def test_other_escapes_stay_as_they_are(content):
    endpoint = Endpoint(base_url="http://127.0.0.1/v1", api_key="k+e/y1")
    assert endpoint.without_key(content) == content


async def test_a_cause_of_several_lines_becomes_one():
    async def broken(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("cannot connect:\n  no route to host\n")

    async def endpoint() -> Endpoint:
        return Endpoint("http://provider/v1", None, transport=httpx.MockTransport(broken))

    retry = RetryConfig(max_attempts=1)
    api = VisionApi(endpoint, limits=LimitsConfig(), retry=retry)
    with pytest.raises(EndpointError, match=r"ConnectError: cannot connect: no route to host$"):
        await api.ask(b"{}", estimated_tokens=1)
