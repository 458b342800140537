"""What may be spent, by a run and in a month: reserved before a request, settled after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from vision_pipeline.core.errors import BudgetError
from vision_pipeline.core.models import Price
from vision_pipeline.core.records import Amount, Mode, VisionRequest
from vision_pipeline.pipeline.services import Ledger, Services

WORST_CASE_FACTOR = 2  # of estimated input tokens: those of images are exact, those of text are not
RECOUNT_AFTER = timedelta(minutes=1)  # other runs may spend from the same month

_PER_MONTH = "_per_month"
_OPTIONS = {"usd": " or --max-cost", "tokens": " or --max-tokens"}
_NOTHING = Amount()


def utc_now() -> datetime:
    """The time by this machine's clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Account:
    """What was spent in a run, or in a month."""

    spent: Amount = _NOTHING


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that an account may spend.

    Attributes:
        name: Of its key below `budget` in the config.
        most: USD or tokens.
    """

    name: str
    most: float
    account: Account

    @property
    def key(self) -> str:
        """As the config and messages name it."""
        return f"budget.{self.name}"

    @property
    def unit(self) -> Literal["usd", "tokens"]:
        """What it counts."""
        return "tokens" if self.name.startswith("tokens") else "usd"

    @property
    def left(self) -> float:
        """What is not spent yet."""
        return max(0.0, self.most - self.of(self.account.spent))

    def of(self, amount: Amount) -> float:
        """What of an amount it counts."""
        return amount.tokens if self.unit == "tokens" else amount.usd

    def allows(self, amount: Amount) -> bool:
        """Whether that may be spent on top of what is."""
        return self.of(self.account.spent) + self.of(amount) <= self.most

    def shown(self, number: float) -> str:
        """A number of what it counts, with its unit."""
        return f"{number:,.0f} tokens" if self.unit == "tokens" else f"{number:.6g} USD"

    def exceeded(self, *, by: Amount, reserved: Amount) -> BudgetError:
        """Why a request is not sent, and what to do."""
        aside = f", {self.shown(self.of(reserved))} set aside for others" if reserved.tokens else ""
        later = ", or wait for the next month (UTC)" if self.name.endswith(_PER_MONTH) else ""
        return BudgetError(
            f"{self.key}: the budget of {self.shown(self.most)} is used up: "
            f"{self.shown(self.of(self.account.spent))} spent{aside}, and the next request may "
            f"take {self.shown(self.of(by))} if its answer is as long as model.max_tokens allows; "
            f"lower that, or raise {self.key}{_OPTIONS.get(self.name, '')}{later}, "
            "and run the same command to go on"
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for a request, or for several that are settled together.

    Attributes:
        amount: The most that they can take.
        times_worse: By what this is more than what their model's tokens should come to.
        requests: How many.
    """

    amount: Amount
    times_worse: float = 1.0
    requests: int = 1


@dataclass(slots=True)
class Budget:
    """Amounts set aside before requests go, and settled by what their replies took.

    What is set aside is the most that a request can take, so that no limit is exceeded by a reply
    that is longer than expected. A request counts in the month in which its reply comes, and is
    sent only if it also fits into the one in which it is sent.

    Where a reply took more all the same, since the model's tokens are counted otherwise than is
    known here, as many times more are set aside from then on: only what is on the wire by then can
    exceed a limit.

    Attributes:
        limits: All hold; none where nothing is bounded.
        worst: The most that a request can take.
        run: What the run has spent.
        month: What all runs of the ledger have spent since the month began, in UTC.
        ledger: Tells it; None where no limit is of a month.
        now: The time in UTC.
    """

    limits: tuple[Limit, ...]
    worst: Callable[[VisionRequest], Amount]
    run: Account = field(default_factory=Account)
    month: Account = field(default_factory=Account)
    ledger: Ledger | None = None
    now: Callable[[], datetime] = utc_now
    _reserved: Amount = _NOTHING
    _settled: Amount = _NOTHING
    _in_flight: int = 0
    _times_worse: float = 1.0
    _counted_at: datetime | None = None
    _counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: VisionRequest) -> Reservation:
        """Set the most that a request can take aside; waits for no other request.

        Raises:
            BudgetError: With what is set aside for others, it could exceed a limit.
        """
        await self.count()
        worst = self.worst(request) * self._times_worse
        for limit in self.limits:
            if not limit.allows(self._reserved + worst):
                raise limit.exceeded(by=worst, reserved=self._reserved)
        self._reserved += worst
        self._in_flight += 1
        return Reservation(worst, self._times_worse)

    async def reserve(self, request: VisionRequest) -> Reservation:
        """As `take`, but waits while requests in flight may take less than is set aside for them.

        Raises:
            BudgetError: The request could exceed a limit.
        """
        while True:
            try:
                return await self.take(request)
            except BudgetError:
                if not self._in_flight:
                    break
            self._freed.clear()
            await self._freed.wait()
        await self.count(anew=True)  # the last word is the ledger's
        return await self.take(request)

    def set_aside(self, reserved: Reservation) -> None:
        """Set an amount aside for requests that have gone already, whatever the limits."""
        self._reserved += reserved.amount
        self._in_flight += reserved.requests

    def settle(self, reserved: Reservation, taken: Amount) -> None:
        """Replace what was set aside by what it took; nothing if no reply came."""
        self._in_flight -= reserved.requests
        # Sums of floats leave dust.
        self._reserved = self._reserved - reserved.amount if self._in_flight else _NOTHING
        self._settled += taken
        if taken.tokens > reserved.amount.tokens > 0:
            times = reserved.times_worse * taken.tokens / reserved.amount.tokens
            self._times_worse = max(self._times_worse, times)
        for account in (self.run, self.month):
            account.spent += taken
        self._freed.set()

    async def count(self, *, anew: bool = False) -> None:
        """Read from the ledger what the month has spent: when it begins, and now and then."""
        if self.ledger is None:
            return
        async with self._counting:
            now = self.now()
            if not (anew or self._is_stale(now)):
                return
            settled = self._settled
            spent = await self.ledger.spent_since(_month_of(now))
            # What is settled meanwhile may be in that sum or not: rather twice than not at all.
            self.month.spent = spent + (self._settled - settled)
            self._counted_at = now

    def _is_stale(self, now: datetime) -> bool:
        counted = self._counted_at
        return (
            counted is None
            or _month_of(counted) != _month_of(now)
            or not timedelta() <= now - counted < RECOUNT_AFTER
        )

    def left(self) -> str:
        """What is left of the limit that is nearest to its end, for a progress line."""
        if not self.limits:
            return ""
        limit = min(self.limits, key=lambda each: each.left / each.most)
        span = " this month" if limit.name.endswith(_PER_MONTH) else ""
        number = f"{limit.left:,.0f}" if limit.unit == "tokens" else f"{limit.left:.4f}"
        return f"{number} of {limit.shown(limit.most)} left{span}"


def _month_of(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def unlimited() -> Budget:
    """One that nothing exceeds."""
    return Budget((), worst=lambda _: _NOTHING)


async def budget_of(services: Services, run_id: str | None, *, mode: Mode = "realtime") -> Budget:
    """What may still be spent.

    Args:
        services: With the limits, and the ledger that tells what was spent.
        run_id: Of the run that goes on, or None for one that has spent nothing.
        mode: How it asks, and so what it pays.
    """
    wanted = services.config.budget.limits()
    price = services.price
    if not wanted:
        return unlimited()
    if price is not None and mode == "batch":
        price = price.batch_price
    run, month = Account(), Account()
    if run_id is not None:
        run.spent = await services.ledger.spent(run_id)
    limits = tuple(
        Limit(name, most, month if name.endswith(_PER_MONTH) else run)
        for name, most in wanted.items()
    )
    is_monthly = any(limit.account is month for limit in limits)
    max_tokens = services.config.model.max_tokens
    budget = Budget(
        limits,
        worst=lambda request: _worst(request, price, max_tokens),
        run=run,
        month=month,
        ledger=services.ledger if is_monthly else None,
        now=utc_now,
    )
    await budget.count()
    return budget


def _worst(request: VisionRequest, price: Price | None, max_tokens: int) -> Amount:
    prompt_tokens = WORST_CASE_FACTOR * request.estimated_tokens
    usd = price and price.cost_usd(
        prompt_tokens=prompt_tokens, completion_tokens=max_tokens, cached_tokens=0
    )
    return Amount(usd or 0.0, prompt_tokens + max_tokens)
