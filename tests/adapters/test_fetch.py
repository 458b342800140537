"""Fetching URLs, against a server on this machine."""

import asyncio
import gzip
import socket
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from vision_pipeline.adapters.fetch import FetchSettings, UrlFetcher
from vision_pipeline.core.errors import ErrorCode, ItemError

BODY = b"\x89PNG" + b"x" * 5000


class Naps:
    """Takes the place of sleep and remembers how long it was asked for."""

    def __init__(self):
        self.taken = []

    async def __call__(self, seconds):
        self.taken.append(seconds)


class Site:
    """A server that answers each path by a script, the last answer over and over."""

    def __init__(self, script):
        self.script = {path: list(answers) for path, answers in script.items()}
        self.asked = []

    async def answer(self, request):
        self.asked.append((request.path, dict(request.headers)))
        answers = self.script[request.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return await answer(request) if callable(answer) else answer()


def ok(body=BODY, **headers):
    async def answer(request):
        return web.Response(body=body, headers=headers)

    return answer


def status(number, **headers):
    async def answer(request):
        return web.Response(status=number, headers=headers)

    return answer


async def hang(request):
    await asyncio.Event().wait()


async def drop(request):
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def serving(script):
    site = Site(script)
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    server = TestServer(app)
    await server.start_server()
    try:
        yield site, str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


def fetcher(naps=None, resolve=None, **settings):
    options = {} if resolve is None else {"resolve": resolve}
    allowed = FetchSettings(**({"allow_private": True} | settings))
    return UrlFetcher(allowed, sleep=naps or Naps(), **options)


async def error_of(fetching, url):
    with pytest.raises(ItemError) as caught:
        await fetching.fetch(url)
    return caught.value


async def test_a_body_comes_back_as_it_is():
    async with serving({"/a.png": [ok()]}) as (site, base), fetcher() as fetching:
        assert await fetching.fetch(f"{base}/a.png") == BODY
        assert await fetching.fetch(f"{base}/a.png") == BODY
    assert site.asked[0][1]["Accept-Encoding"] == "identity"


async def test_nothing_of_one_answer_goes_into_the_next_request():
    cookie = {"Set-Cookie": "session=1; Path=/"}
    async with serving({"/a.png": [ok(**cookie)]}) as (site, base), fetcher() as fetching:
        await fetching.fetch(f"{base}/a.png")
        await fetching.fetch(f"{base}/a.png")
    assert "Cookie" not in site.asked[1][1]


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(number):
    script = {"/old": [status(number, Location="/new")], "/new": [ok()]}
    async with serving(script) as (_, base), fetcher() as fetching:
        assert await fetching.fetch(f"{base}/old") == BODY


async def test_a_circle_of_redirects_ends():
    async with (
        serving({"/a": [status(302, Location="/a")]}) as (site, base),
        fetcher() as fetching,
    ):
        error = await error_of(fetching, f"{base}/a")
    assert error.code == ErrorCode.SOURCE_MISSING
    assert len(site.asked) == 6


@pytest.mark.parametrize("number", [400, 401, 403, 404, 410, 302])
async def test_a_refusal_is_final_and_names_its_status(number):
    naps = Naps()
    async with serving({"/a": [status(number)]}) as (site, base), fetcher(naps) as fetching:
        error = await error_of(fetching, f"{base}/a?signature=secret")
    assert error.code == ErrorCode.SOURCE_MISSING
    assert str(number) in error.detail
    assert "secret" not in error.detail
    assert (len(site.asked), naps.taken) == (1, [])


@pytest.mark.parametrize("bad", [status(500), status(503), status(429)])
async def test_what_may_pass_is_tried_again(bad):
    naps = Naps()
    async with serving({"/a": [bad, bad, ok()]}) as (site, base), fetcher(naps) as fetching:
        assert await fetching.fetch(f"{base}/a") == BODY
    assert naps.taken == [0.5, 2.0]
    assert len(site.asked) == 3


async def test_a_connection_that_breaks_is_tried_again():
    async with serving({"/a": [drop, drop, ok()]}) as (_, base), fetcher() as fetching:
        assert await fetching.fetch(f"{base}/a") == BODY


async def test_a_server_that_keeps_failing_is_given_up():
    async with serving({"/a": [status(502)]}) as (site, base), fetcher() as fetching:
        error = await error_of(fetching, f"{base}/a")
    assert error.code == ErrorCode.SOURCE_MISSING
    assert len(site.asked) == 3


async def test_a_server_that_does_not_answer_is_a_timeout():
    async with serving({"/a": [hang]}) as (_, base), fetcher(timeout_s=0.05) as fetching:
        error = await error_of(fetching, f"{base}/a")
    assert error.code == ErrorCode.TIMEOUT


async def test_a_server_that_is_not_there_is_a_missing_source():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with fetcher() as fetching:
            error = await error_of(fetching, f"http://127.0.0.1:{port}/a")
    assert error.code == ErrorCode.SOURCE_MISSING


async def test_a_body_over_the_limit_is_cut_off():
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 4096)

    async with serving({"/a": [endless]}) as (_, base), fetcher(max_bytes=10_000) as fetching:
        error = await error_of(fetching, f"{base}/a")
    assert error.code == ErrorCode.IMAGE_TOO_LARGE


async def test_a_packed_body_is_unpacked_within_the_limit():
    packed = {"Content-Encoding": "gzip"}
    script = {
        "/a": [ok(gzip.compress(BODY), **packed)],
        "/bomb": [ok(gzip.compress(b"\x00" * 1_000_000), **packed)],
        "/false": [ok(b"not packed", **packed)],
        "/odd": [ok(b"x", **{"Content-Encoding": "br"})],
    }
    async with serving(script) as (_, base), fetcher(max_bytes=10_000) as fetching:
        assert await fetching.fetch(f"{base}/a") == BODY
        assert (await error_of(fetching, f"{base}/bomb")).code == ErrorCode.IMAGE_TOO_LARGE
        assert (await error_of(fetching, f"{base}/false")).code == ErrorCode.UNREADABLE_IMAGE
        assert (await error_of(fetching, f"{base}/odd")).code == ErrorCode.UNREADABLE_IMAGE


# --- addresses


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.1",
        "224.0.0.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
    ],
)
async def test_private_addresses_are_blocked_before_any_connection(host):
    naps = Naps()
    async with fetcher(naps, allow_private=False) as fetching:
        error = await error_of(fetching, f"http://{host}:9/a.png")
    assert error.code == ErrorCode.BLOCKED_URL
    assert naps.taken == []


def answering(*addresses):
    """A resolver that knows these addresses for any name, and counts how often it is asked."""

    async def resolve(host, port, family):
        resolve.asked += 1
        return [
            {
                "hostname": host,
                "host": each,
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for each in addresses
        ]

    resolve.asked = 0
    return resolve


async def test_a_name_that_leads_to_a_private_address_is_blocked():
    resolve = answering("127.0.0.1", "10.0.0.7")
    async with (
        serving({"/a": [ok()]}) as (site, base),
        fetcher(resolve=resolve, allow_private=False) as fetching,
    ):
        port = base.rpartition(":")[2]
        error = await error_of(fetching, f"http://images.example:{port}/a")
    assert error.code == ErrorCode.BLOCKED_URL
    assert site.asked == []


async def test_the_address_that_was_checked_is_the_one_that_is_reached():
    """The name is asked for once only, so it cannot answer differently the second time."""
    resolve = answering("127.0.0.1")
    async with (
        serving({"/a": [ok()]}) as (_, base),
        fetcher(resolve=resolve) as fetching,
    ):
        port = base.rpartition(":")[2]
        assert await fetching.fetch(f"http://images.example:{port}/a") == BODY
    assert resolve.asked == 1


async def test_public_addresses_of_a_mixed_answer_remain():
    async with fetcher(resolve=answering("10.0.0.7", "8.8.8.8"), allow_private=False) as fetching:
        found = await fetching._resolver.resolve("images.example", 80)
    assert [each["host"] for each in found] == ["8.8.8.8"]


async def test_a_name_that_nobody_knows_is_a_missing_source():
    async def resolve(host, port, family):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with fetcher(resolve=resolve) as fetching:
        error = await error_of(fetching, "http://nowhere.example/a")
    assert error.code == ErrorCode.SOURCE_MISSING


async def test_each_redirect_is_checked():
    metadata = "http://169.254.169.254/latest/meta-data/"
    script = {"/a": [status(302, Location=metadata)], "/b": [status(302, Location="file:///etc")]}
    resolve = answering("127.0.0.1")
    async with serving(script) as (_, base), fetcher(resolve=resolve) as fetching:
        public = FetchSettings(allow_private=False)
        fetching._settings = public  # the server is on this machine, and what it says is not
        port = base.rpartition(":")[2]
        for path in ("/a", "/b"):
            error = await error_of(fetching, f"http://images.example:{port}{path}")
            assert error.code == ErrorCode.BLOCKED_URL


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/a", "file:///etc/passwd", "http://user:pass@example.org/a", "gopher://x"],
)
async def test_other_schemes_and_credentials_are_blocked(url):
    async with fetcher() as fetching:
        error = await error_of(fetching, url)
    assert error.code == ErrorCode.BLOCKED_URL
    assert "pass" not in error.detail


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://exa mple\x00.org/",
        "http://:99999999/",
        "http://\uff11\uff12\uff17.0.0.1/",
    ],
)
async def test_what_is_no_url_is_a_missing_source(url):
    async with fetcher() as fetching:
        error = await error_of(fetching, url)
    assert error.code in {ErrorCode.SOURCE_MISSING, ErrorCode.BLOCKED_URL}


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving({"/a": [ok()]}) as (_, base), fetcher() as fetching:
        assert await fetching.fetch(f"{base}/a") == BODY
