"""Images behind `http` and `https` URLs: fetched within limits, and only from public addresses."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from vision_pipeline.core.addresses import is_literal, is_public
from vision_pipeline.core.errors import ErrorCode, ItemError, RetryableError

Resolve = Callable[[str, int, socket.AddressFamily], Awaitable[list[ResolveResult]]]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RETRIED_STATUSES = frozenset({408, 425, 429})  # and 5xx
_OK = range(200, 300)
_SERVER_ERRORS = range(500, 600)
_ANY_ZLIB_FORM = 47  # gzip or zlib, told by the header (zlib's inflateInit2)
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_HEADERS = {
    "Accept": "image/*, */*;q=0.5",
    "Accept-Encoding": "identity",  # images do not pack, and bombs do
    "User-Agent": "vision-pipeline",
}


class BlockedAddressError(OSError):
    """A name that leads to addresses that may not be reached, and to no other."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How URLs are fetched.

    Attributes:
        max_bytes: A longer body is cut off and refused.
        timeout_s: For one attempt as a whole, redirects among it.
        max_redirects: How many are followed.
        backoffs_s: The waits before each further attempt; as many retries.
        allow_private: Whether private, loopback and link-local addresses may be reached.
        max_connections: Connections open at once, to all hosts.
    """

    max_bytes: int = 100 * 1024 * 1024
    timeout_s: float = 30.0
    max_redirects: int = 5
    backoffs_s: tuple[float, ...] = (0.5, 2.0)
    allow_private: bool = False
    max_connections: int = 64


class PublicResolver(AbstractResolver):
    """Names to public addresses only.

    The connector connects to what this returns, so the address checked is the address reached:
    a name that changes its answer between check and connection gains nothing.
    """

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._resolve = resolve
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be reached.

        Raises:
            OSError: The name is not known, or leads to private addresses alone.
        """
        found = await self._resolve(host, port, family)
        if self._allow_private:
            return found
        public = [each for each in found if is_public(each["host"])]
        if found and not public:
            raise BlockedAddressError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        """Nothing is held."""


async def resolve_by_system(
    host: str, port: int, family: socket.AddressFamily
) -> list[ResolveResult]:
    """Ask the operating system for a host's addresses.

    Raises:
        OSError: The name is not known.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in found
    ]


class UrlFetcher:
    """Fetches images from the web. An async context manager; open it within the event loop."""

    def __init__(
        self,
        settings: FetchSettings,
        *,
        resolve: Resolve = resolve_by_system,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._resolver = PublicResolver(resolve, allow_private=settings.allow_private)
        self._sleep = sleep
        self._client = httpx.AsyncClient(
            transport=AiohttpTransport(client=self._session, trust_env=False),
            trust_env=False,  # a proxy would resolve names itself, past the check
            follow_redirects=False,
            headers=_HEADERS,
            timeout=settings.timeout_s,
            # No cookies: one host's must not follow to another, and a jar grows with the hosts.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def fetch(self, url: str) -> bytes:
        """The body behind a URL.

        Raises:
            ItemError: `blocked_url` for an address that may not be reached, for credentials in
                the URL and for other schemes; `source_missing` where the server or the file is
                not there; `image_too_large` above `max_bytes`; `unreadable_image` for a body in
                an encoding that is not decoded; `timeout` where the last attempt took too long.
        """
        for backoff_s in self._settings.backoffs_s:
            try:
                return await self._attempt(url)
            except RetryableError:
                await self._sleep(backoff_s)
        try:
            return await self._attempt(url)
        except RetryableError as error:
            raise ItemError(error.code, error.detail) from error

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver, limit=self._settings.max_connections
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def _attempt(self, url: str) -> bytes:
        with _translated(_shown(url)):
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._follow(url)

    async def _follow(self, url: str) -> bytes:
        for _ in range(self._settings.max_redirects + 1):
            found = await self._step(_checked(url, allow_private=self._settings.allow_private))
            if isinstance(found, bytes):
                return found
            url = found
        detail = f"{_shown(url)}: more than {self._settings.max_redirects} redirects"
        raise ItemError(ErrorCode.SOURCE_MISSING, detail)

    async def _step(self, url: httpx.URL) -> bytes | str:
        """The body, or the URL that the server points to."""
        async with self._client.stream("GET", url) as response:
            target = response.headers.get("location")
            if response.status_code in _REDIRECTS and target:
                return str(url.join(target))
            _refuse_status(response)
            return _unpacked(await self._body(response), response, self._settings.max_bytes)

    async def _body(self, response: httpx.Response) -> bytes:
        limit = self._settings.max_bytes
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > limit:
                raise ItemError(ErrorCode.IMAGE_TOO_LARGE, f"more than {limit} bytes")
        return bytes(body)


def _checked(url: str, *, allow_private: bool) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        if is_literal(urlsplit(url).hostname or ""):  # 0177.0.0.1 and the like
            raise _blocked("no canonical address") from error
        raise
    # aiohttp hears the URL through yarl: the host to check is the one that yarl reads.
    reached = yarl.URL(str(parsed))
    host = reached.host or ""
    if parsed.scheme not in {"http", "https"} or reached.scheme != parsed.scheme:
        raise _blocked(f"{parsed.scheme}: is not fetched, only http and https")
    if parsed.userinfo or reached.user or reached.password:
        raise _blocked("the URL carries credentials")
    if is_literal(host) and not (allow_private or is_public(host)):
        raise _blocked(f"{host} is not a public address")
    return parsed


def _refuse_status(response: httpx.Response) -> None:
    status = response.status_code
    detail = f"{_shown(str(response.url))}: HTTP {status}"
    if status in _SERVER_ERRORS or status in _RETRIED_STATUSES:
        raise RetryableError(ErrorCode.SOURCE_MISSING, detail)
    if status not in _OK:
        raise ItemError(ErrorCode.SOURCE_MISSING, detail)


def _unpacked(body: bytes, response: httpx.Response, max_bytes: int) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"identity", ""}:
        return body
    if encoding not in _PACKED:
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"sent in the encoding {encoding!r}")
    try:
        unpacked = zlib.decompressobj(_ANY_ZLIB_FORM).decompress(body, max_bytes + 1)
    except zlib.error as error:
        detail = f"the body is not {encoding}: {error}"
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail) from error
    if len(unpacked) > max_bytes:
        raise ItemError(ErrorCode.IMAGE_TOO_LARGE, f"more than {max_bytes} bytes unpacked")
    return unpacked


@contextmanager
def _translated(shown: str) -> Iterator[None]:
    """Turn what the HTTP client raises into errors of the pipeline."""
    try:
        yield
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: yarl's
        raise ItemError(ErrorCode.SOURCE_MISSING, f"no valid URL: {error}") from error
    except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
        raise _sorted(shown, error) from error


def _sorted(shown: str, error: Exception) -> ItemError | RetryableError:
    # By the first causes: the transport calls every failed connection a timeout.
    causes = list(_causes(error))
    if any(isinstance(each, BlockedAddressError) for each in causes):
        return _blocked(f"{shown} leads to no public address")
    if any(isinstance(each, TimeoutError) for each in causes):
        return RetryableError(ErrorCode.TIMEOUT, f"{shown}: no reply in time")
    return RetryableError(ErrorCode.SOURCE_MISSING, f"{shown}: {error}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _blocked(detail: str) -> ItemError:
    return ItemError(ErrorCode.BLOCKED_URL, detail)


def _shown(url: str) -> str:
    """A URL for messages: without credentials and without its query, which may be a signature."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"
