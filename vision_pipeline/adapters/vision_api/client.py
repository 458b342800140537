"""The vision API over HTTP: wait for the turn, send, retry what may pass."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast

import httpx

from vision_pipeline.adapters.vision_api.leases import UNSHARED, Leases
from vision_pipeline.adapters.vision_api.pacer import Pacer, Turn
from vision_pipeline.core.activity import Activity
from vision_pipeline.core.config import LimitsConfig, RetryConfig
from vision_pipeline.core.errors import (
    EndpointError,
    ErrorCode,
    ItemError,
    PipelineError,
    RetryableError,
)
from vision_pipeline.core.failures import Failures
from vision_pipeline.core.limits import backoff_s
from vision_pipeline.core.protocol import BrokenReplyError, excerpt, read_reply
from vision_pipeline.core.rate_headers import read_rate_headers
from vision_pipeline.core.records import ReceivedReply, VisionReply
from vision_pipeline.core.refusals import Failure, failure, refusal
from vision_pipeline.transport.clock import SYSTEM_CLOCK, Clock
from vision_pipeline.transport.endpoint import MIN_SECRET_CHARS, Endpoint
from vision_pipeline.transport.line import BREAKS, Line, cause_of, is_layered

MAX_REPLY_BYTES = 8 * 1024 * 1024  # the longest answers of any model have a tenth of it
MAX_REFUSAL_BYTES = 64 * 1024
FIRST_CONTACT_ATTEMPTS = 3  # a server that never answered is more likely a wrong address

PATH = "chat/completions"
_OK = 200


class VisionApi:
    """A client that paces itself and outlasts what passes.

    Args:
        endpoint: Called before the first request and only then, so that a run that is answered
            from the ledger starts nothing.
        limits: Of requests, tokens and concurrency.
        retry: For how often and how long.
        clock: How time passes.
        activity: Told what is going on.
        leases: Of a quota that other processes use too; closed with this client.
    """

    def __init__(  # noqa: PLR0913  (each of them is something else)
        self,
        endpoint: Callable[[], Awaitable[Endpoint]],
        *,
        limits: LimitsConfig,
        retry: RetryConfig,
        clock: Clock = SYSTEM_CLOCK,
        activity: Activity | None = None,
        leases: Leases = UNSHARED,
    ) -> None:
        self._endpoint = endpoint
        self._retry = retry
        self._clock = clock
        self._activity = activity or Activity(now_s=clock.now)
        self._max_in_flight = limits.max_in_flight
        self._leases = leases
        self._pacer = Pacer(
            limits,
            retry,
            clock=clock,
            activity=self._activity,
            leases=leases,
        )
        self._line: Line | None = None
        self._opening = asyncio.Lock()
        self._numbers = count()
        self._answered = self._has_served = False

    async def ask(self, body: bytes, *, estimated_tokens: int) -> ReceivedReply:
        """Send a request body until a reply comes.

        A first cancel ends whatever waits, but outlasts a request on the wire: its reply is paid
        for, and is returned as if nothing had happened. A second cancel is final.

        Args:
            body: A chat completion request, JSON.
            estimated_tokens: Input tokens; the pace is kept by them.

        Raises:
            ItemError: The provider refuses this request, or it failed too often or for too long.
            RunError: The provider refuses the key, cannot be reached at all, or has not answered
                anybody for too long.
        """
        line = await self._open()
        number, ready_s = next(self._numbers), self._clock.now()
        failures, tries, tried_s, outage_tries = Failures(), 0, 0.0, 0
        while True:
            async with self._pacer.turn(number, estimated_tokens) as turn:
                turn.tries = tries + outage_tries
                turn.is_known_bad = failures.is_own(served_s=self._pacer.served_s)
                outcome = await _outlast_cancel(self._exchange(line, body, turn))
            if isinstance(outcome, bytes):
                return ReceivedReply(
                    body=outcome,
                    attempts=tries + 1,
                    queued_s=turn.sent_s - ready_s,
                    latency_s=self._clock.now() - turn.sent_s,
                    answered_at=datetime.now(UTC),
                )
            if turn.again_s:
                await self._clock.sleep(turn.again_s)
            if not turn.is_own_failure:
                outage_tries += not outcome.is_rate_limit
                continue
            failures.add(self._clock.now(), served_s=self._served_s)
            tries += 1
            wait_s = outcome.retry_after_s or backoff_s(tries, jitter=self._clock.jitter())
            # Only what this request took: queueing for the limit is no failure.
            tried_s += self._clock.now() - turn.sent_s + wait_s
            if self._is_hopeless(failures) or tried_s >= self._retry.max_elapsed_s:
                raise self._given_up(outcome, tries, tried_s) from outcome
            await self._clock.sleep(wait_s)
            if self._is_hopeless(failures):  # others were served while it waited
                raise self._given_up(outcome, tries, tried_s) from outcome

    async def aclose(self) -> None:
        """Close the connections."""
        await self._leases.aclose()
        if self._line is not None:
            await self._line.aclose()

    @property
    def _served_s(self) -> float:
        """When the latest of the requests that were served was sent; inf before the first."""
        return self._pacer.served_s if self._has_served else math.inf

    def _is_hopeless(self, failures: Failures) -> bool:
        most = self._retry.max_attempts
        if not self._answered:
            most = min(most, FIRST_CONTACT_ATTEMPTS)
        return failures.own >= most and failures.is_own(served_s=self._served_s)

    def _given_up(self, error: RetryableError, tries: int, tried_s: float) -> PipelineError:
        if not self._answered:
            return EndpointError(f"the server does not answer: {error.detail}")
        detail = f"after {tries} attempts, {tried_s:.0f} s with the next wait: {error.detail}"
        return ItemError(error.code, detail)

    async def _exchange(self, line: Line, body: bytes, turn: Turn) -> bytes | RetryableError:
        """One request, and its reply or why it has to be tried again; the pacer hears it first."""
        try:
            with self._activity.on_wire():
                content = await self._send(line, body, turn)
            reply = _read_reply(content)
        except RetryableError as error:
            if error.is_rate_limit:
                self._pacer.refused(turn, error)
            else:
                is_own = self._pacer.failed(turn, error)
                turn.is_own_failure = is_own or not self._answered
            return error
        except ItemError:
            self._pacer.heard()
            raise
        self._has_served = True
        charged_tokens = max(0, reply.prompt_tokens - reply.cached_tokens)
        self._pacer.answered(
            turn,
            total_tokens=charged_tokens + reply.completion_tokens,
            completion_tokens=reply.completion_tokens,
        )
        return content

    async def _send(self, line: Line, body: bytes, turn: Turn) -> bytes:
        try:
            async with (
                asyncio.timeout(self._retry.timeout_s),
                line.post(PATH, body) as response,
            ):
                turn.rate = read_rate_headers(response.headers, now=datetime.now(UTC))
                content = await _read(response)
        except (httpx.ReadTimeout, TimeoutError) as error:
            detail = f"no reply within {self._retry.timeout_s:g} s"
            raise failure(Failure.TIMEOUT, detail) from error
        except BREAKS as error:
            cause = line.endpoint.without_key(cause_of(error).encode()).decode()
            raise failure(Failure.NETWORK, f"{line.endpoint.base_url}: {cause}") from error
        self._answered = True
        if response.status_code != _OK:
            said = line.endpoint.without_key(content)
            raise refusal(response.status_code, said, rate=turn.rate, has_served=self._has_served)
        return line.endpoint.without_key(content, min_key_chars=MIN_SECRET_CHARS)

    async def _open(self) -> Line:
        async with self._opening:
            if self._line is None:
                endpoint = await self._endpoint()
                self._line = Line(endpoint, max_connections=self._max_in_flight)
            return self._line


_Outcome = bytes | RetryableError


async def _outlast_cancel(request: Coroutine[Any, Any, _Outcome]) -> _Outcome:
    sending = asyncio.create_task(request)
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        if task.cancelling() > 1:
            sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)  # a second cancel ends it too
        if sending.cancelled() or _may_pass(sending):
            raise
        task.uncancel()
        return sending.result()


def _may_pass(sending: asyncio.Task[_Outcome]) -> bool:
    return sending.exception() is None and isinstance(sending.result(), RetryableError)


def _read_reply(content: bytes) -> VisionReply:
    try:
        return read_reply(content)
    except BrokenReplyError as error:
        detail = f"no chat completion: {excerpt(content)}"
        raise failure(Failure.BROKEN_REPLY, detail) from error


async def _read(response: httpx.Response) -> bytes:
    if is_layered(response):
        raise failure(Failure.BROKEN_REPLY, "the reply is compressed more than once")
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
