"""Single calls of a Batch API, and how those that fail are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx

from vision_pipeline.core.batch_refusals import Call, batch_refusal, queue_full
from vision_pipeline.core.config import RetryConfig
from vision_pipeline.core.errors import EndpointError, ErrorCode, RetryableError, RunError
from vision_pipeline.core.limits import backoff_s
from vision_pipeline.core.protocol import excerpt, load_json
from vision_pipeline.core.rate_headers import read_rate_headers
from vision_pipeline.transport.clock import Clock
from vision_pipeline.transport.endpoint import Endpoint
from vision_pipeline.transport.line import (
    BREAKS,
    JSON_SENT,
    JSON_WANTED,
    Body,
    Header,
    Line,
    cause_of,
    is_layered,
)

MAX_ANSWER_BYTES = 256 * 1024 * 1024  # a job may carry 10,000 results
MAX_REFUSAL_BYTES = 1024 * 1024  # a refused file's names the lines at fault
MAX_CONNECTIONS = 8
FIRST_CONTACT_ATTEMPTS = 3  # a server that never answered is more likely a wrong address
MIN_ATTEMPTS = 3  # however long each of them took
# How long what was made may be missing from the list of all: jobs were, for some seconds.
SETTLE_S = 20.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A success whose headers are there.

    Attributes:
        call: What was asked.
        endpoint: Whose key is taken out of what is read whole.
        response: The response; its body only through this.
        deadline: Put off by every piece that comes.
        patience_s: By how much.
    """

    call: Call
    endpoint: Endpoint
    response: httpx.Response
    deadline: asyncio.Timeout
    patience_s: float

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, unpacked."""
        if is_layered(self.response):
            raise EndpointError("the answer is compressed more than once")
        async for piece in self.response.aiter_bytes():
            _put_off(self.deadline, self.patience_s)
            yield piece

    async def json(self) -> Any:  # noqa: ANN401  (any JSON)
        """What it says.

        Raises:
            RetryableError: It is no JSON.
            EndpointError: It is larger than any that are known.
        """
        content = bytearray()
        async for piece in self.pieces():
            content += piece
            if len(content) > MAX_ANSWER_BYTES:
                raise EndpointError(f"{self.call}: an answer of more than {MAX_ANSWER_BYTES} bytes")
        said = self.endpoint.without_key(bytes(content))
        try:
            return load_json(said)
        except (ValueError, RecursionError) as error:
            raise no_sense(f"{self.call}: no JSON: {excerpt(said)}") from error


class Calls:
    """Calls of one endpoint; opens the connections with the first.

    Args:
        endpoint: Called before the first request.
        check: Raises where an address is known to have no Batch API.
        retry: For how long; its attempts are those of items.
        clock: How time passes between attempts.
    """

    def __init__(
        self,
        endpoint: Callable[[], Awaitable[Endpoint]],
        *,
        check: Callable[[str], None],
        retry: RetryConfig,
        clock: Clock,
    ) -> None:
        self.clock = clock
        self._endpoint = endpoint
        self._check = check
        self._retry = retry
        self._line: Line | None = None
        self._opening = asyncio.Lock()
        self._answered = False

    async def line(self) -> Line:
        """The connections, opened by the first who asks.

        Raises:
            RunError: The address or the key cannot be used.
        """
        async with self._opening:
            if self._line is None:
                endpoint = await self._endpoint()
                self._check(endpoint.base_url)
                self._line = Line(endpoint, max_connections=MAX_CONNECTIONS)
            return self._line

    async def aclose(self) -> None:
        """Close the connections."""
        if self._line is not None:
            await self._line.aclose()

    @asynccontextmanager
    async def exchange(
        self,
        call: Call,
        method: str,
        url: httpx.URL,
        *,
        headers: Sequence[Header] = (),
        stream: httpx.AsyncByteStream | None = None,
    ) -> AsyncIterator[Answer]:
        """One request; the block reads its answer, and raises no error of the disk as it is.

        Raises:
            RetryableError: It may pass, done or not.
            RunError: It does not pass.
        """
        line = await self.line()
        patience_s = self._retry.timeout_s
        try:
            async with asyncio.timeout(patience_s) as deadline:
                moving = None if stream is None else _Moving(stream, deadline, patience_s)
                async with line.send(method, url, headers=headers, stream=moving) as response:
                    self._answered = True
                    if not response.is_success:
                        raise await _refusal(call, response, line.endpoint)
                    yield Answer(call, line.endpoint, response, deadline, patience_s)
        except (httpx.ReadTimeout, TimeoutError) as error:
            detail = f"{call}: nothing moved for {patience_s:g} s"
            raise RetryableError(ErrorCode.TIMEOUT, detail) from error
        except BREAKS as error:
            cause = line.endpoint.without_key(cause_of(error).encode()).decode()
            detail = f"{call}: {line.endpoint.base_url}: {cause}"
            raise RetryableError(ErrorCode.MODEL_UNAVAILABLE, detail) from error

    async def json(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Any:  # noqa: ANN401  (any JSON)
        """One request, and what its answer says.

        Raises:
            RetryableError: It may pass, done or not.
            RunError: It does not pass.
        """
        url = (await self.line()).url(path)
        headers: list[Header] = [JSON_WANTED]
        stream = None
        if body is not None:
            headers += [JSON_SENT, ("Content-Length", str(len(body)))]
            stream = Body(body)
        url = url.copy_merge_params(query) if query else url
        async with self.exchange(call, method, url, headers=headers, stream=stream) as answer:
            return await answer.json()

    async def outlast(self, call: Call, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it succeeds, for `retry.max_elapsed_s` after the first failure at most.

        Raises:
            RunError: It does not pass, or did not within that time.
        """
        tries, failed_s = 0, 0.0
        while True:
            try:
                return await attempt()
            except RetryableError as error:
                tries += 1
                failed_s = failed_s or self.clock.now()
                wait_s = error.retry_after_s or backoff_s(tries, jitter=self.clock.jitter())
                outage_s = self.clock.now() + wait_s - failed_s
                if self._is_hopeless(tries, outage_s, wait_s):
                    raise self._given_up(call, error, tries, outage_s) from error
            await self.clock.sleep(wait_s)

    async def make(
        self, call: Call, make: Callable[[], Awaitable[T]], find: Callable[[], Awaitable[T | None]]
    ) -> T:
        """Make something once, although an attempt may have made it without an answer.

        Args:
            call: What is asked.
            make: An attempt.
            find: Looks for what an earlier attempt may have made.

        Raises:
            RunError: It does not pass, or did not in time.
        """
        is_unsure = False

        async def attempt() -> T:
            nonlocal is_unsure
            if is_unsure and (found := await self._settled(find)) is not None:
                return found
            try:
                return await make()
            except RetryableError as error:
                is_unsure |= not error.is_rate_limit
                raise

        return await self.outlast(call, attempt)

    async def _settled(self, find: Callable[[], Awaitable[T | None]]) -> T | None:
        tries, until_s = 0, self.clock.now() + SETTLE_S
        while (found := await find()) is None and self.clock.now() < until_s:
            tries += 1
            await self.clock.sleep(backoff_s(tries, jitter=self.clock.jitter()))
        return found

    def _is_hopeless(self, tries: int, outage_s: float, wait_s: float) -> bool:
        if not self._answered:
            return tries >= FIRST_CONTACT_ATTEMPTS
        most_s = self._retry.max_elapsed_s
        return wait_s > most_s or (outage_s > most_s and tries >= MIN_ATTEMPTS)

    def _given_up(self, call: Call, error: RetryableError, tries: int, outage_s: float) -> RunError:
        if not self._answered:
            return EndpointError(f"the server does not answer: {error.detail}")
        said = f"{error.detail}, after {tries} attempts in {outage_s:.0f} s with the next wait"
        if error.is_rate_limit and call is Call.CREATE:
            return queue_full(said)
        return EndpointError(said)


def no_sense(detail: str) -> RetryableError:
    """That an answer is not what was asked for: something in between spoke, or it was cut."""
    return RetryableError(ErrorCode.MODEL_UNAVAILABLE, detail)


class _Moving(httpx.AsyncByteStream):
    """A body that puts off the end of patience as it goes out."""

    def __init__(
        self, stream: httpx.AsyncByteStream, deadline: asyncio.Timeout, patience_s: float
    ) -> None:
        self._stream = stream
        self._deadline = deadline
        self._patience_s = patience_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            _put_off(self._deadline, self._patience_s)
            yield piece


def _put_off(deadline: asyncio.Timeout, patience_s: float) -> None:
    if not deadline.expired():
        deadline.reschedule(asyncio.get_running_loop().time() + patience_s)


async def _refusal(call: Call, response: httpx.Response, endpoint: Endpoint) -> Exception:
    content = bytearray()
    if not is_layered(response):
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > MAX_REFUSAL_BYTES:
                break  # what it says stands at its start
    rate = read_rate_headers(response.headers, now=datetime.now(UTC))
    said = endpoint.without_key(bytes(content))
    return batch_refusal(call, response.status_code, said, rate=rate)
