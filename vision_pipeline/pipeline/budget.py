"""What a run may spend: reserved before a request, settled after its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from vision_pipeline.core.errors import BudgetError
from vision_pipeline.core.records import VisionRequest


@dataclass(frozen=True, slots=True)
class Amount:
    """What requests cost, or can cost at most."""

    usd: float = 0.0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.usd + other.usd, self.tokens + other.tokens)


@dataclass(slots=True)
class Budget:
    """Money set aside before a request goes and settled by what its reply cost.

    What is set aside is the most that the request can cost, so the limit is never exceeded by a
    reply that is longer than expected.

    Attributes:
        limit_usd: What the run may cost, or None for no limit.
        worst_usd: The most that a request can cost.
        spent_usd: What the run has cost so far.
    """

    limit_usd: float | None
    worst_usd: Callable[[VisionRequest], float]
    spent_usd: float = 0.0
    _reserved_usd: float = 0.0
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def reserve(self, request: VisionRequest) -> float:
        """Set the most that a request can cost aside; returns that sum.

        Waits while requests in flight may turn out cheaper than what is set aside for them.

        Raises:
            BudgetError: The request could exceed the limit.
        """
        if self.limit_usd is None:
            return 0.0
        worst = self.worst_usd(request)
        while self.spent_usd + self._reserved_usd + worst > self.limit_usd:
            if not self._reserved_usd:
                raise BudgetError(
                    f"the budget of {self.limit_usd:g} USD is used up: {self.spent_usd:.6f} spent, "
                    f"and the next request may cost {worst:.6f} if its answer is as long as "
                    "model.max_tokens allows; lower that, or raise budget.usd or --max-cost, "
                    "and run the same command to go on"
                )
            self._freed.clear()
            await self._freed.wait()
        self._reserved_usd += worst
        return worst

    def take(self, request: VisionRequest) -> Amount:
        """As `reserve`, but without waiting."""
        worst = self.worst_usd(request)
        if (
            self.limit_usd is not None
            and self.spent_usd + self._reserved_usd + worst > self.limit_usd
        ):
            raise BudgetError(f"the budget of {self.limit_usd:g} USD is used up")
        self._reserved_usd += worst
        return Amount(worst)

    def set_aside(self, amount: Amount) -> None:
        """Reserve for requests that are on their way already, whatever the limit."""
        self._reserved_usd += amount.usd

    def settle_amount(self, reserved: Amount, spent: Amount) -> None:
        """Replace what was set aside by what it cost."""
        self.settle(reserved.usd, spent.usd)

    def settle(self, reserved_usd: float, cost_usd: float) -> None:
        """Replace what was set aside by what it cost; 0 if no reply came."""
        # Sums of floats leave dust, and dust would look like a request in flight.
        self._reserved_usd = max(0.0, round(self._reserved_usd - reserved_usd, 12))
        self.spent_usd += cost_usd
        self._freed.set()


def unlimited() -> Budget:
    """One that nothing exceeds."""
    return Budget(limit_usd=None, worst_usd=lambda _: 0.0)
