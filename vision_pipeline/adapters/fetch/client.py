"""One attempt at a URL: every hop checked, paced and within one time-out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from vision_pipeline.adapters.fetch.failures import translated
from vision_pipeline.adapters.fetch.hosts import HostGate
from vision_pipeline.adapters.fetch.resolving import PublicResolver, Resolve
from vision_pipeline.adapters.fetch.settings import Clock, FetchSettings
from vision_pipeline.adapters.fetch.urls import checked, origin, redirected
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.rate_headers import read_rate_headers

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TOO_BUSY = frozenset({429, 503})
_IDLE_CONNECTION_S = 4.0  # servers close theirs after 5 s and more; idle ones are not counted
_HEADERS = {
    "Accept": "image/*, */*;q=0.5",
    "Accept-Encoding": "identity",  # images do not pack, and bombs do
    "User-Agent": "vision-pipeline",
}


class WebClient:
    """Asks public servers. Open it within the event loop, and close it."""

    def __init__(self, settings: FetchSettings, *, resolve: Resolve, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._resolver = PublicResolver(resolve, allow_private=settings.allow_private)
        self._hosts = HostGate(settings, clock=clock)
        self._http = httpx.AsyncClient(
            transport=AiohttpTransport(client=self._session, trust_env=False),
            trust_env=False,  # a proxy would resolve names itself, past the check
            follow_redirects=False,
            event_hooks={"response": [_set_location_aside]},
            headers=_HEADERS,
            timeout=settings.timeout_s,
            # No cookies: one host's must not follow to another, and a jar grows with the hosts.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        url: str,
        read: Callable[[httpx.Response], Awaitable[T]],
        *,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """What `read` makes of the response that stands behind all redirects.

        Args:
            method: `GET` or `HEAD`.
            url: What was written in the manifest.
            read: Gets the response with its body unread; the connection is closed on what it
                leaves unread.
            headers: Sent to every hop, besides the usual ones.

        Raises:
            ItemError: `blocked_url` for an address that may not be reached, `source_missing` for
                no URL or too many redirects; and what `read` raises.
            RetryableError: `timeout`, or `source_missing` for a failed connection.
        """
        with translated():
            return await self._follow(method, url, read, headers)

    async def _follow(
        self,
        method: str,
        url: str,
        read: Callable[[httpx.Response], Awaitable[T]],
        headers: Mapping[str, str] | None,
    ) -> T:
        loop = asyncio.get_running_loop()
        left_s = self._settings.timeout_s
        hop = checked(url, allow_private=self._settings.allow_private)
        for _ in range(self._settings.max_redirects + 1):
            async with self._hosts.turn(origin(hop)):
                started_s = loop.time()
                async with (
                    asyncio.timeout(left_s),
                    self._http.stream(method, hop, headers=headers) as response,
                ):
                    self._heed(hop, response)
                    location = _location(response)
                    if location is None:
                        return await read(response)
                left_s -= loop.time() - started_s
            hop = redirected(hop, location, allow_private=self._settings.allow_private)
        detail = f"more than {self._settings.max_redirects} redirects"
        raise ItemError(ErrorCode.SOURCE_MISSING, detail)

    def _heed(self, hop: httpx.URL, response: httpx.Response) -> None:
        """Leave the host alone for as long as it asks for."""
        if response.status_code in _TOO_BUSY:
            told = read_rate_headers(response.headers, now=self._clock.utc_now())
            if told.retry_after_s is not None:
                self._hosts.pause(origin(hop), told.retry_after_s)

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            limit=self._settings.max_connections,
            keepalive_timeout=_IDLE_CONNECTION_S,
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def _set_location_aside(response: httpx.Response) -> None:
    """Keep httpx from reading where a redirect leads: it fails on some of what is to be blocked."""
    response.extensions["location"] = response.headers.pop("location", "")


def _location(response: httpx.Response) -> str | None:
    """Where a redirect leads to; None where the response is none."""
    if response.status_code not in _REDIRECTS:
        return None
    return response.extensions["location"] or None
