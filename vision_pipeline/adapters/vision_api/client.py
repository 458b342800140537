"""The vision API over HTTP: wait for the limit, send, retry what may pass."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from vision_pipeline.adapters.vision_api.pacer import SYSTEM_CLOCK, Clock, Pacer
from vision_pipeline.core.config import LimitsConfig, RetryConfig
from vision_pipeline.core.errors import (
    AccessError,
    EndpointError,
    ErrorCode,
    ItemError,
    RetryableError,
)
from vision_pipeline.core.limits import backoff_s, read_rate_headers
from vision_pipeline.core.protocol import BrokenReplyError, excerpt, read_reply
from vision_pipeline.core.records import ReceivedReply
from vision_pipeline.core.refusals import refusal

CONNECT_TIMEOUT_S = 20.0
MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_REFUSAL_BYTES = 64 * 1024
FIRST_CONTACT_ATTEMPTS = 3  # a server that never answered is more likely a wrong address

# A key that somebody made up, "local" or "EMPTY", may be a word of an answer by chance.
MIN_SECRET_CHARS = 16

_OK = 200


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API is.

    Attributes:
        base_url: Up to and including `/v1`.
        api_key: Sent as a bearer token; None for servers that want none.
        use_proxy: Whether the environment's proxy settings apply.
    """

    base_url: str
    api_key: str | None = field(repr=False)
    use_proxy: bool = True

    def __post_init__(self) -> None:
        if "@" in self.base_url.partition("://")[2].partition("/")[0]:
            raise EndpointError(
                "model.base_url carries credentials, which a file must not hold; leave them out, "
                "and name the key's variable in model.api_key_env"
            )

    def authorization(self) -> dict[str, str]:
        """The header that carries the key; none for servers that want none.

        Raises:
            AccessError: The key cannot stand in a header.
        """
        if not self.api_key:
            return {}
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise AccessError("the API key has characters that no key has; was it copied whole?")
        return {"Authorization": f"Bearer {self.api_key}"}

    def without_key(self, content: bytes, *, min_key_chars: int = 6) -> bytes:
        """Content with the key taken out, however it is written: some servers repeat it.

        Args:
            content: What the server sent.
            min_key_chars: A shorter key stays: it is no secret, but might be a word.
        """
        if not self.api_key or len(self.api_key) < min_key_chars:
            return content
        for written in _spellings(self.api_key):
            content = content.replace(written.encode(), b"[key]")
        return content


def _spellings(key: str) -> set[str]:
    escaped = "".join(each if each.isalnum() else f"\\u{ord(each):04x}" for each in key)
    return {key, quote(key, safe=""), key.replace("/", "\\/"), escaped, escaped.upper()}


class VisionApi:
    """A client that paces itself and outlasts what passes.

    Args:
        endpoint: Called before the first request and only then, so that a run that is answered
            from the ledger starts nothing.
        on_wire: Called with +1 when a request goes onto the wire, and with -1 when it is over.
    """

    def __init__(
        self,
        endpoint: Callable[[], Awaitable[Endpoint]],
        *,
        limits: LimitsConfig,
        retry: RetryConfig,
        clock: Clock = SYSTEM_CLOCK,
        on_wire: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._endpoint = endpoint
        self._retry = retry
        self._clock = clock
        self._on_wire = on_wire
        self._max_in_flight = limits.max_in_flight
        self._in_flight = asyncio.Semaphore(limits.max_in_flight)
        self._pacer = Pacer(limits, clock=clock)
        self._line: _Line | None = None
        self._opening = asyncio.Lock()
        self._answered = False

    async def ask(self, body: bytes, *, estimated_tokens: int) -> ReceivedReply:
        """Send a request body until a reply comes.

        A first cancel ends whatever waits, but outlasts a request on the wire: its reply is paid
        for, and is returned as if nothing had happened. A second cancel is final.

        Args:
            body: A chat completion request, JSON.
            estimated_tokens: Input tokens; the pace is kept by them.

        Raises:
            ItemError: The provider refuses this request, or it failed too often or for too long.
            RunError: The provider refuses the key, or cannot be reached at all.
        """
        line = await self._open()
        ready_at = sent_at = self._clock.now()
        failures, tried_s = 0, 0.0
        while True:
            try:
                async with self._in_flight, self._pacer.turn(estimated_tokens):
                    sent_at = self._clock.now()
                    content = await _outlast_cancel(self._send(line, body))
            except RetryableError as error:
                if error.is_rate_limit:
                    self._pacer.refused(error, sent_at=sent_at, give_up_s=self._retry.max_elapsed_s)
                    continue
                failures += 1
                wait_s = error.retry_after_s or backoff_s(failures, jitter=random.random())
                # Only what this request took: queueing for the limit is no failure.
                tried_s += self._clock.now() - sent_at + wait_s
                self._give_up(error, failures, tried_s)
                await self._clock.sleep(wait_s)
            else:
                return ReceivedReply(
                    body=content,
                    attempts=failures + 1,
                    queued_s=sent_at - ready_at,
                    latency_s=self._clock.now() - sent_at,
                    answered_at=datetime.now(UTC),
                )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._line is not None:
            await self._line.client.aclose()

    def _give_up(self, error: RetryableError, failures: int, tried_s: float) -> None:
        most = self._retry.max_attempts
        if not self._answered:
            most = min(most, FIRST_CONTACT_ATTEMPTS)
        if failures < most and tried_s < self._retry.max_elapsed_s:
            return
        if not self._answered:
            raise EndpointError(f"the server does not answer: {error.detail}") from error
        detail = f"after {failures} attempts, {tried_s:.0f} s with the next wait: {error.detail}"
        raise ItemError(error.code, detail) from error

    async def _send(self, line: _Line, body: bytes) -> bytes:
        self._on_wire(+1)
        try:
            async with (
                asyncio.timeout(self._retry.timeout_s),
                line.client.stream(
                    "POST", "chat/completions", content=_chunks(body), headers=_length(body)
                ) as response,
            ):
                headers = dict(response.headers.items())  # names in lower case
                rate = read_rate_headers(headers, now=datetime.now(UTC))
                self._pacer.learn(rate)
                content = await _read(response)
        except (httpx.ReadTimeout, TimeoutError) as error:
            detail = f"no reply within {self._retry.timeout_s:g} s"
            raise RetryableError(ErrorCode.TIMEOUT, detail) from error
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            cause = line.endpoint.without_key(_cause(error).encode()).decode()
            detail = f"{line.endpoint.base_url}: {cause}"
            raise RetryableError(ErrorCode.MODEL_UNAVAILABLE, detail) from error
        finally:
            self._on_wire(-1)
        self._answered = True
        if response.status_code != _OK:
            raise refusal(response.status_code, line.endpoint.without_key(content), rate=rate)
        content = line.endpoint.without_key(content, min_key_chars=MIN_SECRET_CHARS)
        try:
            reply = read_reply(content)
        except BrokenReplyError as error:
            detail = f"no chat completion: {excerpt(content)}"
            raise RetryableError(ErrorCode.MODEL_UNAVAILABLE, detail) from error
        self._pacer.answered(completion_tokens=reply.completion_tokens)
        return content

    async def _open(self) -> _Line:
        async with self._opening:
            if self._line is None:
                endpoint = await self._endpoint()
                client = _client(endpoint, max_connections=self._max_in_flight)
                self._line = _Line(endpoint, client)
            return self._line


@dataclass(frozen=True, slots=True)
class _Line:
    endpoint: Endpoint
    client: httpx.AsyncClient


async def _outlast_cancel(request: Coroutine[Any, Any, bytes]) -> bytes:
    sending = asyncio.create_task(request)
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        if task.cancelling() > 1:
            sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)  # a second cancel ends it too
        if sending.cancelled() or isinstance(sending.exception(), RetryableError):
            raise
        task.uncancel()
        return sending.result()


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    # Not as bytes: aiohttp warns of those that are larger than a mebibyte.
    yield body


def _length(body: bytes) -> dict[str, str]:
    return {"Content-Length": str(len(body))}


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    is_refusal = response.status_code != _OK
    async for chunk in response.aiter_bytes():
        content += chunk
        if is_refusal and len(content) > MAX_REFUSAL_BYTES:
            break  # what it says stands at its start
        if len(content) > MAX_REPLY_BYTES:
            detail = f"the reply is larger than {MAX_REPLY_BYTES} bytes"
            raise ItemError(ErrorCode.INVALID_ANSWER, detail)
    return bytes(content)


def _client(endpoint: Endpoint, *, max_connections: int) -> httpx.AsyncClient:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    headers |= endpoint.authorization()

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=max_connections)
        # Not by trust_env: it reads ~/.netrc too, and refuses a key beside an entry found there.
        proxy = _proxy(endpoint.base_url) if endpoint.use_proxy else None
        return aiohttp.ClientSession(connector=connector, proxy=proxy)

    try:
        return httpx.AsyncClient(
            base_url=endpoint.base_url,
            headers=headers,
            # aiohttp's sessions carry 256 requests in flight at a fortieth of the CPU of httpx's
            # own pool.
            transport=AiohttpTransport(client=session),
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        )
    except httpx.InvalidURL as error:
        raise EndpointError(f"model.base_url: {endpoint.base_url}: {error}") from error


def _proxy(base_url: str) -> str | None:
    address = urlsplit(base_url)
    if proxy_bypass(address.hostname or ""):
        return None
    return getproxies().get(address.scheme)


def _cause(error: BaseException) -> str:
    root = error.__cause__ or error
    text = str(root) or str(error)
    return f"{type(root).__name__}: {text}" if text else type(root).__name__
