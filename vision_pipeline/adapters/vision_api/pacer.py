"""When the next request may go: quotas, concurrency, and one pause for all workers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vision_pipeline.adapters.vision_api.leases import UNSHARED, Leases
from vision_pipeline.adapters.vision_api.quotas import RequestQuota, TokenQuota
from vision_pipeline.core.activity import Activity, Stage
from vision_pipeline.core.concurrency import CAREFUL_START, START, Concurrency
from vision_pipeline.core.config import LimitsConfig, RetryConfig
from vision_pipeline.core.errors import EndpointError, ItemError, RetryableError
from vision_pipeline.core.outages import Outage
from vision_pipeline.core.pauses import Pauses
from vision_pipeline.core.rate_headers import RateHeaders
from vision_pipeline.core.windows import Entry
from vision_pipeline.transport.clock import Clock

SILENCE = RateHeaders()


@dataclass(slots=True)
class Turn:
    """A request that may go.

    Attributes:
        request: Its number, the same whenever it is tried again.
        sent_s: When it went, on the pacer's clock.
        entry: Its place in the window of requests.
        reserved_tokens: What is set aside for it.
        rate: What the answer's headers say.
        is_over: Whether an answer, a refusal or a failure was noted.
        is_own_failure: Whether it failed by itself, and not by the limit or an outage.
        tries: How often it failed before.
        is_known_bad: Whether it failed before while others were served.
        again_s: How long it alone has to wait, where it was refused while others are served.
    """

    request: int
    sent_s: float
    entry: Entry
    reserved_tokens: float
    rate: RateHeaders = SILENCE
    is_over: bool = False
    is_own_failure: bool = False
    again_s: float = 0.0
    tries: int = 0
    is_known_bad: bool = False


class Pacer:
    """The pace of one key against one model, shared by all requests of a run.

    Requests go in the order in which they came. With a limit of `auto` the first one goes alone:
    its answer names the limits, and a burst before it could be refused.

    Args:
        limits: As configured.
        retry: For how long refusals or failures without a single answer are borne.
        clock: How time passes.
        activity: Told what the next request waits for.
        leases: Of a quota that other processes use too.

    Attributes:
        served_s: When the latest of the requests that were served was sent.
    """

    def __init__(
        self,
        limits: LimitsConfig,
        retry: RetryConfig,
        *,
        clock: Clock,
        activity: Activity,
        leases: Leases = UNSHARED,
    ) -> None:
        self._clock = clock
        self._retry = retry
        self._activity = activity
        self._requests = RequestQuota(
            limits.requests_per_minute, activity.requests, leases.requests
        )
        self._tokens = TokenQuota(limits.tokens_per_minute, activity.tokens, leases.tokens)
        self._outage = Outage()
        self._first = asyncio.Lock()
        self._changed = asyncio.Event()
        self._is_known = "auto" not in (limits.requests_per_minute, limits.tokens_per_minute)
        start = START if self._is_known else CAREFUL_START
        self._concurrency = Concurrency(limits.max_in_flight, start=start)
        self._going = 0
        activity.room = self._concurrency.bound
        self._paused_s = self._resume_s = 0.0
        self._pauses = Pauses(patience_s=retry.max_elapsed_s)
        self.served_s = -math.inf

    @asynccontextmanager
    async def turn(self, request: int, estimated_tokens: int) -> AsyncIterator[Turn]:
        """Wait until a request of that many input tokens may go; the block is the request."""
        async with self._first:
            turn = await self._next(request, estimated_tokens)
        try:
            yield turn
        finally:
            self._end(turn)

    async def _next(self, request: int, estimated_tokens: int) -> Turn:
        try:
            if self._requests.is_paced:
                self._activity.hold(Stage.REQUEST_LIMIT)
                await self._requests.pace()
            if self._tokens.is_paced:
                self._activity.hold(Stage.TOKEN_LIMIT)
                await self._tokens.pace(estimated_tokens)
            while (held := self._held()) is not None:
                stage, wait_s = held
                self._activity.hold(stage, until_s=self._clock.now() + wait_s)
                await self._wait(wait_s)
        finally:
            self._activity.hold(None)
        now_s = self._clock.now()
        self._going += 1
        return Turn(
            request, now_s, self._requests.enter(now_s), self._tokens.reserve(estimated_tokens)
        )

    def _held(self) -> tuple[Stage, float] | None:
        """What the next request waits for and for how many seconds, or None where it may go."""
        now_s = self._clock.now()
        if (pause_s := self._resume_s - now_s) > 0:
            return (Stage.OUTAGE if self._outage.since_s is not None else Stage.PAUSE), pause_s
        if self._outage.since_s is not None and self._going:
            return Stage.OUTAGE, math.inf  # one request at a time finds out whether it is over
        if not self._is_known and self._going:
            return Stage.ENDPOINT, math.inf
        if self._going >= self._concurrency.bound:
            return Stage.ENDPOINT, math.inf
        for stage, quota in (
            (Stage.REQUEST_LIMIT, self._requests),
            (Stage.TOKEN_LIMIT, self._tokens),
        ):
            wait_s = quota.wait_s(now_s)
            if wait_s > 0:
                return stage, wait_s
        return None

    async def _wait(self, wait_s: float) -> None:
        self._changed.clear()
        if math.isinf(wait_s):
            await self._changed.wait()
            return
        changed = asyncio.ensure_future(self._changed.wait())
        slept = asyncio.ensure_future(self._clock.sleep(wait_s))
        try:
            await asyncio.wait({changed, slept}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (changed, slept):
                each.cancel()

    def _end(self, turn: Turn) -> None:
        """Whatever came of it: nobody waits for it any more."""
        if not turn.is_over:
            self._over(turn, 0, self._clock.now())
        self._is_known = True
        self._going -= 1
        self._activity.room = self._concurrency.bound
        self._changed.set()

    def answered(self, turn: Turn, *, total_tokens: int, completion_tokens: int) -> None:
        """Note a success, and what it was charged where the headers do not say."""
        now_s = self._clock.now()
        self.served_s = max(self.served_s, turn.sent_s)
        charged = turn.rate.debited_tokens
        self._over(turn, total_tokens if charged is None else charged, now_s)
        self._tokens.expect(completion_tokens)
        self._concurrency.answered(now_s - turn.sent_s, in_flight=self._going)
        self._pauses.answered(turn.request)
        self._requests.served()
        self._recovered()

    def failed(self, turn: Turn, error: RetryableError) -> bool:
        """Note a failure that may pass; returns whether it is this request's own.

        Raises:
            EndpointError: Nothing has been answered for longer than `retry.max_elapsed_s`.
            ItemError: Likewise, and this request failed so often that it may be the cause.
        """
        now_s = self._clock.now()
        self._activity.failed += 1
        was_out = self._outage.since_s is not None
        if was_out or not turn.is_known_bad:
            self._outage.failed(turn.request, now_s)
            self._activity.outage = (self._outage.first_s, error.detail)
        since_s = self._outage.since_s
        if since_s is None:
            return True
        wait_s = error.retry_after_s or self._outage.wait_s(now_s)
        if now_s + wait_s - since_s > self._retry.max_elapsed_s:
            detail = f"nothing was answered for {now_s - since_s:.0f} s: {error.detail}"
            if turn.tries >= self._retry.max_attempts:
                raise ItemError(error.code, detail) from error
            raise EndpointError(detail) from error
        if not was_out:
            self._concurrency.overloaded()
        if turn.sent_s >= self._paused_s:
            self._pause(now_s, wait_s)
        return False

    def heard(self) -> None:
        """Note an answer that is neither a success nor a failure that may pass."""
        self._recovered()

    def refused(self, turn: Turn, error: RetryableError) -> None:
        """Note a refusal by rate limit, and pause every worker where it is not this one's own.

        Raises:
            EndpointError: Refused for longer than `retry.max_elapsed_s`, or told to wait so long.
            ItemError: Refused ever again while others were served.
        """
        now_s = self._clock.now()
        self._activity.refused += 1
        self._requests.withdraw(turn.entry)
        self._over(turn, 0, now_s)
        self._recovered()
        if turn.sent_s < self._paused_s:
            return  # sent before the pause that its refusal would ask for
        is_by_window = self._requests.explains(turn.rate.requests_left)
        if is_by_window:
            self._requests.surprised(error.retry_after_s, now_s)
        is_explained = is_by_window or turn.rate.tokens_left == 0
        is_limit = is_explained or self._is_limit(error, now_s)
        wait = self._pauses.wait(
            turn.request, error, now_s, is_explained=is_explained, is_limit=is_limit
        )
        turn.again_s = wait.alone_s
        if not wait.alone_s:
            self._pause(now_s, wait.all_s)

    def _is_limit(self, error: RetryableError, now_s: float) -> bool:
        """Learn from a refusal that no window explains; whether a limit refused, not chance."""
        in_a_row = self._pauses.refused()
        is_limit = in_a_row
        if not error.is_full:
            is_certain = bool(error.retry_after_s)
            is_limit = self._requests.refused(now_s, in_a_row=in_a_row, is_certain=is_certain)
        if is_limit:
            self._concurrency.overloaded()
        return is_limit

    def _over(self, turn: Turn, tokens: int, now_s: float) -> None:
        """Account for a request that has ended, and take over what its answer says of limits."""
        turn.is_over = True
        rate = turn.rate
        self._requests.confirm(turn.entry)
        self._tokens.settle(turn.reserved_tokens, tokens, now_s)
        self._requests.learn(rate.requests_per_minute, rate.requests_left, now_s)
        self._tokens.learn(rate.tokens_per_minute, rate.tokens_left, now_s)
        if rate.requests_per_minute:
            self._concurrency.known()

    def _pause(self, now_s: float, pause_s: float) -> None:
        self._pauses.begun()
        self._paused_s = now_s
        self._resume_s = max(self._resume_s, now_s + pause_s)
        self._changed.set()

    def _recovered(self) -> None:
        """Note that the server is there."""
        if self._outage.since_s is not None:
            self._resume_s = self._clock.now()
            self._changed.set()
        self._outage.answered()
        self._activity.outage = None
