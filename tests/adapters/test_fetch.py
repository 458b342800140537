"""Fetching URLs: redirects, retries, time-outs, and what an error may say."""

import asyncio
import socket
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.adapters.fetching import (
    BODY,
    Naps,
    drop,
    error_of,
    fetcher,
    hang,
    ok,
    serving,
    status,
)
from vision_pipeline.adapters.fetch.failures import translated
from vision_pipeline.core.errors import ErrorCode, RetryableError


async def test_a_body_comes_back_as_it_is():
    async with serving({"/a.png": [ok()]}) as (site, base), fetcher() as fetching:
        assert (await fetching.fetch(f"{base}/a.png")).data == BODY
        assert (await fetching.fetch(f"{base}/a.png")).data == BODY
    assert site.asked[0].headers["Accept-Encoding"] == "identity"


async def test_nothing_of_one_answer_goes_into_the_next_request():
    cookie = ok(Set_Cookie="session=1; Path=/", ETag='"1"')
    async with serving({"/a.png": [cookie]}) as (site, base), fetcher() as fetching:
        await fetching.fetch(f"{base}/a.png")
        await fetching.fetch(f"{base}/a.png")
    assert not {"Cookie", "If-None-Match"} & set(site.asked[1].headers)


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(number):
    script = {"/old": [status(number, Location="/new")], "/new": [ok()]}
    async with serving(script) as (_, base), fetcher() as fetching:
        assert (await fetching.fetch(f"{base}/old")).data == BODY


async def test_a_redirect_carries_no_credentials_to_another_host(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with serving({"/a": [ok()]}) as (other, away):
        script = {"/a": [status(302, Location=f"{away}/a")]}
        async with serving(script) as (site, base), fetcher() as fetching:
            await fetching.fetch(f"{base}/a")
    for request in (*site.asked, *other.asked):
        assert not {"Authorization", "Cookie", "Referer"} & set(request.headers)


async def test_a_circle_of_redirects_ends():
    circle = {"/a": [status(302, Location="/a")]}
    async with serving(circle) as (site, base), fetcher() as fetching:
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
        assert (await fetching.fetch(f"{base}/a")).data == BODY
    assert naps.taken == [0.5, 2.0]
    assert len(site.asked) == 3


async def test_a_connection_that_breaks_is_tried_again():
    async with serving({"/a": [drop, drop, ok()]}) as (_, base), fetcher() as fetching:
        assert (await fetching.fetch(f"{base}/a")).data == BODY


async def test_a_server_that_keeps_failing_is_given_up():
    async with serving({"/a": [status(502)]}) as (site, base), fetcher() as fetching:
        error = await error_of(fetching, f"{base}/a")
    assert error.code == ErrorCode.SOURCE_MISSING
    assert len(site.asked) == 3


async def test_a_server_that_does_not_answer_is_a_timeout():
    async with serving({"/a": [hang]}) as (_, base), fetcher(timeout_s=0.05) as fetching:
        error = await error_of(fetching, f"{base}/a")
    assert error.code == ErrorCode.TIMEOUT


async def test_redirects_share_one_time_out():
    """Each hop is quick, and they are too many for the time of one."""
    circle = {"/a": [status(302, Location="/a")]}
    limits = {"timeout_s": 0.2, "max_redirects": 1000, "backoffs_s": ()}
    async with serving(circle) as (_, base), fetcher(**limits) as fetching:
        error = await error_of(fetching, f"{base}/a")
    assert error.code == ErrorCode.TIMEOUT


async def test_a_server_that_is_not_there_is_a_missing_source():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with fetcher() as fetching:
            error = await error_of(fetching, f"http://127.0.0.1:{port}/a")
    assert error.code == ErrorCode.SOURCE_MISSING


async def test_a_name_that_the_system_knows_is_reached():
    async with serving({"/a": [ok()]}) as (_, base), fetcher() as fetching:
        url = base.replace("127.0.0.1", "localhost")
        assert (await fetching.fetch(f"{url}/a")).data == BODY


async def test_a_name_that_nobody_knows_is_a_missing_source():
    async def resolve(host, port, family):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with fetcher(resolve=resolve) as fetching:
        error = await error_of(fetching, "http://nowhere.example/a")
    assert error.code == ErrorCode.SOURCE_MISSING


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://exa mple\x00.org/",
        "http://:99999999/",
        "http://images.example:70000/",
        "http:images.example/a",
        "http:///a",
        "http://user:pass/word@images.example/",
        "http://us\u2100er:pass@images.example:x/",
    ],
)
async def test_what_is_no_url_is_a_missing_source(url):
    naps = Naps()
    async with fetcher(naps) as fetching:
        error = await error_of(fetching, url)
    assert error.code == ErrorCode.SOURCE_MISSING
    assert "pass" not in error.detail
    assert naps.taken == []


async def test_a_redirect_to_no_url_is_a_missing_source():
    async with (
        serving({"/a": [status(302, Location="http://[::1")]}) as (_, base),
        fetcher() as fetching,
    ):
        error = await error_of(fetching, f"{base}/a")
    assert error.code == ErrorCode.SOURCE_MISSING
    assert f"{base}/a redirects" in error.detail


@asynccontextmanager
async def saying(reply):
    """A server that says the same bytes to everybody, whatever they want."""

    async def answer(reader, writer):
        await reader.read(1)
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "reply", [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"]
)
async def test_an_error_never_shows_a_query(scheme, reply):
    async with saying(reply) as port, fetcher() as fetching:
        error = await error_of(fetching, f"{scheme}://127.0.0.1:{port}/a?signature=secret#secret")
    assert error.code == ErrorCode.SOURCE_MISSING
    assert "secret" not in error.detail


async def test_what_is_no_http_is_said_to_be_none():
    async with saying(b"no HTTP\r\n\r\n") as port, fetcher() as fetching:
        error = await error_of(fetching, f"http://127.0.0.1:{port}/a")
    assert error.detail.endswith("no valid HTTP reply")


def test_a_message_of_the_client_that_quotes_the_url_is_left_out():
    url = "http://images.example/a?signature=secret"
    with pytest.raises(RetryableError) as caught, translated():
        raise httpx.ReadError(f"{url} broke off")
    assert caught.value.detail == "ReadError"
