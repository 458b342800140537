"""When the next request may go: limits of requests and tokens, and one pause for all workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from aiolimiter import AsyncLimiter

from vision_pipeline.core.config import LimitsConfig
from vision_pipeline.core.errors import EndpointError, RetryableError
from vision_pipeline.core.limits import BACKOFF_CAP_S, UNKNOWN_PAUSE_S, RateHeaders, pace

_MEAN_WEIGHT = 0.1  # of the newest reply in the running mean of answer lengths


@dataclass(frozen=True, slots=True)
class Clock:
    """How time passes.

    Attributes:
        now: Seconds that never run backwards.
        sleep: Waits for that many seconds.
    """

    now: Callable[[], float] = monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


SYSTEM_CLOCK = Clock()


class Pacer:
    """The pace of one key against one model, shared by all requests of a run.

    With a limit of `auto` the first request goes alone: its answer names the limits, and a burst
    before it could be refused.
    """

    def __init__(self, limits: LimitsConfig, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._auto_requests = limits.requests_per_minute == "auto"
        self._auto_tokens = limits.tokens_per_minute == "auto"
        self._requests = _Bucket(_given(limits.requests_per_minute))
        self._tokens = _Bucket(_given(limits.tokens_per_minute))
        self._known = asyncio.Event()
        self._probing = False
        if not (self._auto_requests or self._auto_tokens):
            self._known.set()
        self._mean_completion_tokens = 0.0
        self._paused_at = self._resume_at = 0.0
        self._refused_since: float | None = None
        self._refusals_in_a_row = 0

    @asynccontextmanager
    async def turn(self, estimated_tokens: int) -> AsyncIterator[None]:
        """Wait until a request of that many input tokens may go; the block is the request."""
        try:
            await self._acquire(estimated_tokens)
            yield
        finally:
            self._known.set()  # whatever came of it: nobody waits for the first one any more

    async def _acquire(self, estimated_tokens: int) -> None:
        if self._probing:
            await self._known.wait()
        self._probing = not self._known.is_set()
        await self._requests.acquire(1)
        await self._tokens.acquire(estimated_tokens + self._mean_completion_tokens)
        while (wait_s := self._resume_at - self._clock.now()) > 0:
            await self._clock.sleep(wait_s)

    def learn(self, rate: RateHeaders) -> None:
        """Take over the limits that a response names."""
        if self._auto_requests:
            self._requests.limit(rate.requests_per_minute)
        if self._auto_tokens:
            self._tokens.limit(rate.tokens_per_minute)

    def answered(self, *, completion_tokens: int) -> None:
        """Note a success."""
        self._mean_completion_tokens += _MEAN_WEIGHT * (
            completion_tokens - self._mean_completion_tokens
        )
        self._refused_since = None
        self._refusals_in_a_row = 0

    def refused(self, error: RetryableError, *, sent_at: float, give_up_s: float) -> None:
        """Pause every worker after a refusal by rate limit.

        Args:
            error: The refusal; its wait counts, else a growing one is taken.
            sent_at: When the refused request was sent, on the same clock as the pacer's.
            give_up_s: For how long refusals without a single success are borne.

        Raises:
            EndpointError: Refused for longer than that, or told to wait for longer.
        """
        now = self._clock.now()
        if sent_at < self._paused_at:
            return  # sent before the pause that its refusal would ask for
        if self._refused_since is None:
            self._refused_since = now
        pause_s = error.retry_after_s
        if not pause_s:  # a wait of 0 would be asked again at once, without end
            pause_s = min(BACKOFF_CAP_S, UNKNOWN_PAUSE_S * 2.0**self._refusals_in_a_row)
        self._refusals_in_a_row += 1
        if now + pause_s - self._refused_since > give_up_s:
            raise EndpointError(
                f"refused by the rate limit for {now - self._refused_since:.0f} s without a "
                f"success, next try in {pause_s:.0f} s: {error.detail}"
            ) from error
        self._paused_at = now
        self._resume_at = now + pause_s


class _Bucket:
    """A leaky bucket for a limit per minute, made larger when a larger amount comes."""

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._limiter: AsyncLimiter | None = None

    def limit(self, per_minute: int | None) -> None:
        if per_minute and per_minute != self._per_minute:
            self._per_minute = per_minute
            self._limiter = None

    async def acquire(self, amount: float) -> None:
        if self._per_minute is None:
            return
        if self._limiter is None:
            share = pace(self._per_minute, largest=amount)
            self._limiter = AsyncLimiter(share.amount, share.period_s)
        # Only the capacity grows: the rate, and what was taken of it, stay as they are.
        self._limiter.max_rate = max(self._limiter.max_rate, amount)
        await self._limiter.acquire(amount)


def _given(limit: str | int) -> int | None:
    return limit if isinstance(limit, int) else None
