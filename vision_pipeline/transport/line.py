"""The connections to an API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from vision_pipeline.core.errors import EndpointError
from vision_pipeline.transport.endpoint import Endpoint

CONNECT_TIMEOUT_S = 20.0
# What a request without an answer fails with, whichever layer says so.
BREAKS = (httpx.HTTPError, aiohttp.ClientError, OSError)

Header = tuple[str, str]
JSON_SENT: Header = ("Content-Type", "application/json")
JSON_WANTED: Header = ("Accept", "application/json")


class Line:
    """Connections to an endpoint, opened when they are needed.

    The transport is used without httpx's client: redirects, cookies and authentication are none of
    an API call's business, and cost as much time as the call itself.

    Args:
        endpoint: Where the API is.
        max_connections: At once.

    Raises:
        EndpointError: The address is none.
        AccessError: The key cannot stand in a header.
    """

    def __init__(self, endpoint: Endpoint, *, max_connections: int) -> None:
        self.endpoint = endpoint
        self._headers = list(endpoint.authorization().items())
        self.url("")

        def session() -> aiohttp.ClientSession:
            # Not by trust_env: it reads ~/.netrc too, and refuses a key beside an entry there.
            proxy = _proxy(endpoint.base_url) if endpoint.use_proxy else None
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=max_connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                proxy=proxy,
            )

        # aiohttp's sessions carry 256 requests in flight at a fortieth of the CPU of httpx's pool.
        self._transport = endpoint.transport or AiohttpTransport(client=session)

    def url(self, path: str) -> httpx.URL:
        """The address of a path below the endpoint, such as `chat/completions`.

        Raises:
            EndpointError: The endpoint's address is none.
        """
        return _address(self.endpoint.base_url, path)

    @asynccontextmanager
    async def post(self, path: str, body: bytes) -> AsyncIterator[httpx.Response]:
        """Send a JSON body; the block reads the response, whose headers are there."""
        url = self.url(path)
        headers = [JSON_SENT, JSON_WANTED, ("Content-Length", str(len(body)))]
        async with self.send("POST", url, headers=headers, stream=Body(body)) as response:
            yield response

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: httpx.URL,
        *,
        headers: Sequence[Header] = (),
        stream: httpx.AsyncByteStream | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request; the block reads the response, whose headers are there."""
        request = httpx.Request(
            method,
            url,
            headers=[*self._headers, *headers],
            stream=stream,
            extensions={"timeout": {"connect": CONNECT_TIMEOUT_S}},
        )
        response = await self._transport.handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class Body(httpx.AsyncByteStream):
    """A body in one piece. Not as bytes: aiohttp warns of those larger than a mebibyte."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def is_layered(response: httpx.Response) -> bool:
    """Whether it is compressed more than once.

    Each layer may unpack one chunk to a thousand times its size before any count of bytes.
    """
    return "," in response.headers.get("content-encoding", "")


def cause_of(error: BaseException) -> str:
    """What broke a connection, in one line; it may hold the key."""
    root = error.__cause__ or error
    text = " ".join((str(root) or str(error)).split())  # not cut short: the key is masked later
    return f"{type(root).__name__}: {text}" if text else type(root).__name__


@lru_cache(maxsize=32)
def _address(base_url: str, path: str) -> httpx.URL:
    try:
        url = httpx.URL(f"{base_url.rstrip('/')}/{path}")
    except httpx.InvalidURL as error:
        raise EndpointError(f"model.base_url: {base_url}: {error}") from error
    if not (url.scheme in {"http", "https"} and url.host):
        raise EndpointError(f"model.base_url: {base_url}: no http or https address")
    return url


def _proxy(base_url: str) -> str | None:
    address = urlsplit(base_url)
    if proxy_bypass(address.hostname or ""):
        return None
    return getproxies().get(address.scheme)
