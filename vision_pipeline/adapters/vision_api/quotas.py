"""Requests and tokens a minute: mirrored where answers tell of a window, else paced smoothly.

Of a quota that other processes use too, a lease is taken besides.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from aiolimiter import AsyncLimiter

from vision_pipeline.adapters.vision_api.leases import Lease
from vision_pipeline.core import activity
from vision_pipeline.core.limits import MINUTE_S, pace
from vision_pipeline.core.rates import LearnedRate
from vision_pipeline.core.windows import Entry, SlidingWindow

Limit = int | Literal["auto"]

# How much later than another one a request may reach the provider after it was sent.
_MARGIN_S = 0.25
_OUTCOMES, _MOST_SURPRISES = 40, 8  # of the latest requests: refused by a window that had room
_FAR = 4.0  # times, and seconds, that a wait may differ from another one
_MEAN_WEIGHT = 0.1  # of the newest reply in the running mean of answer lengths


class _Quota:
    def __init__(
        self, limit: Limit, shown: activity.Quota, lease: Lease | None, *, margin_s: float
    ) -> None:
        self._given = None if limit == "auto" else float(limit)
        self._shown = shown
        self._window = SlidingWindow(margin_s=margin_s, share=self._given)
        self._named: float | None = None
        self._bucket = _Bucket()
        self._lease = lease
        self._is_window = True  # until refusals contradict it
        shown.limit = self._given
        shown.is_shared = lease is not None

    def learn(self, limit: int | None, left: int | None, now_s: float) -> None:
        """Take over a limit a minute, and what is left of it where it is a window."""
        if not limit:  # 0 is for whoever reads the refusal
            return
        self._named = float(limit)
        self._shown.limit = min(self._named, self._given or self._named)
        if left is not None and self._is_window:
            self._window.limit = self._named
            self._window.told(left, now_s)

    def wait_s(self, now_s: float) -> float:
        """Seconds until the window admits a request; inf where only an answer can free it."""
        self._shown.used = self._window.used(now_s)
        if not self._is_mirrored:
            return 0.0
        self._shown.frees_at_s = self._window.frees_at_s
        return self._window.wait_s(now_s)

    @property
    def _is_mirrored(self) -> bool:
        return self._window.limit is not None and self._is_window

    @property
    def rates(self) -> list[float]:
        """The rates a second that hold, where no window does; all of them."""
        known = (self._given, self._named)
        return [] if self._is_mirrored else [each / MINUTE_S for each in known if each is not None]

    @property
    def is_paced(self) -> bool:
        """Whether a request has to wait for `pace`."""
        return bool(self.rates) or self._lease is not None

    async def _pace(self, amount: float) -> None:
        if rates := self.rates:
            await self._bucket.take(amount, per_s=min(rates))
        if self._lease is not None:
            await self._lease.take(amount)


class RequestQuota(_Quota):
    """Requests a minute; a rate that nobody names is learned from refusals.

    Args:
        limit: As configured.
        shown: Told what is used.
        lease: Where other processes use the quota too.
    """

    def __init__(self, limit: Limit, shown: activity.Quota, lease: Lease | None) -> None:
        super().__init__(limit, shown, lease, margin_s=_MARGIN_S)
        self._learned: LearnedRate | None = None
        self._surprises: deque[bool] = deque(maxlen=_OUTCOMES)

    @property
    def rates(self) -> list[float]:
        """The rates a second that hold; all of them."""
        learned = None if self._learned is None else self._learned.per_s
        return super().rates if learned is None else [*super().rates, learned]

    async def pace(self) -> None:
        """Wait for the lowest of the rates, and for the lease."""
        await self._pace(1.0)

    def enter(self, now_s: float) -> Entry:
        """Count a request that goes now."""
        if self._learned is None:
            self._learned = LearnedRate(now_s=now_s)
        self._learned.sent(now_s)
        return self._window.enter(1.0, now_s)

    def confirm(self, entry: Entry) -> None:
        """Note that it arrived."""
        self._window.confirm(entry)

    def withdraw(self, entry: Entry) -> None:
        """Note that it was not counted."""
        if self._learned is not None:
            self._learned.untaken(entry.at_s)
        self._window.withdraw(entry)

    def served(self) -> None:
        """Note that a request was admitted."""
        self._surprises.append(False)
        if self._learned is not None:
            self._learned.served()

    def explains(self, requests_left: int | None) -> bool:
        """Whether a window that is used up explains a refusal."""
        return requests_left == 0 and self._is_window

    def surprised(self, retry_after_s: float | None, now_s: float) -> None:
        """Note that the window refused what it had room for here.

        Where that goes on, or the server names a wait that is far from the window's own, the limit
        is kept in another way than by a window of a minute, and is paced smoothly from then on.
        """
        self._window.widen()
        self._surprises.append(True)
        goes_on = sum(self._surprises) >= _MOST_SURPRISES
        own_s = self._window.wait_s(now_s)
        is_far = retry_after_s is not None and own_s > _FAR * retry_after_s + _FAR
        if goes_on or is_far:
            self._is_window = False

    def refused(self, now_s: float, *, in_a_row: bool, is_certain: bool) -> bool:
        """Note a refusal that no window explains; returns whether a limit refused, not chance.

        Args:
            now_s: The time.
            in_a_row: Whether most of the latest requests were refused.
            is_certain: Whether the server says how long to wait.
        """
        return self._learned is None or self._learned.refused(
            now_s, in_a_row=in_a_row, is_certain=is_certain
        )


class TokenQuota(_Quota):
    """Tokens a minute, reserved by estimate and settled by what an answer was charged.

    Args:
        limit: As configured.
        shown: Told what is used.
        lease: Where other processes use the quota too.
    """

    def __init__(self, limit: Limit, shown: activity.Quota, lease: Lease | None) -> None:
        super().__init__(limit, shown, lease, margin_s=0.0)
        self._mean_completion_tokens = 0.0

    async def pace(self, estimated_tokens: int) -> None:
        """Wait for the lowest of the rates, and for the lease."""
        await self._pace(self._whole(estimated_tokens))

    def reserve(self, estimated_tokens: int) -> float:
        """Set aside what a request of so many input tokens may cost; returns that."""
        amount = self._whole(estimated_tokens)
        self._window.reserve(amount)
        return amount

    def settle(self, reserved: float, tokens: int, now_s: float) -> None:
        """Replace what was set aside by what it was charged."""
        self._window.settle(reserved, tokens, now_s)
        if self._lease is not None:
            self._lease.settle(reserved - tokens)

    def expect(self, completion_tokens: int) -> None:
        """Expect answers to be as long as those before."""
        self._mean_completion_tokens += _MEAN_WEIGHT * (
            completion_tokens - self._mean_completion_tokens
        )

    def _whole(self, estimated_tokens: int) -> float:
        return estimated_tokens + self._mean_completion_tokens


class _Bucket:
    """A leaky bucket whose rate may change."""

    def __init__(self) -> None:
        self._limiter: AsyncLimiter | None = None
        self._per_s = 0.0

    async def take(self, amount: float, *, per_s: float) -> None:
        limiter = self._limiter
        if limiter is None or per_s != self._per_s or amount > limiter.max_rate:
            share = pace(per_s, largest=amount)
            was_used, self._per_s = limiter is not None, per_s
            limiter = self._limiter = AsyncLimiter(share.amount, share.period_s)
            if was_used:  # a new rate is no new bucket: it begins full
                await limiter.acquire(share.amount)
        await limiter.acquire(amount)
