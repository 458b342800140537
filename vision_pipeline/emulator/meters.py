"""Kinds of limit, as arithmetic on `now_s`: a sliding window, and a bucket that refills.

All are told a limit per minute, None for no limit and 0 for never, and admit while at least 1 is
left. What is spent may exceed what is left: tokens are debited when their number is known.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from vision_pipeline.emulator.choices import LimitKind

MINUTE_S = 60.0
_ROUNDING = 1e-6  # of one unit: a bucket is filled by sums of floats


class Meter(Protocol):
    """One limit, and what was spent of it; `now_s` never goes back."""

    @property
    def per_minute(self) -> int | None:
        """The limit; None for none."""
        ...

    def left(self, now_s: float) -> int | None:
        """What may be spent at this moment in whole units, never below 0; None without a limit."""
        ...

    def wait_s(self, now_s: float) -> float:
        """Seconds until at least 1 is left, if nothing more is spent; infinite for a limit of 0."""
        ...

    def full_s(self, now_s: float) -> float:
        """Seconds until all is left, if nothing more is spent; infinite for a limit of 0."""
        ...

    def spend(self, amount: int, now_s: float) -> None:
        """Debit an amount, even beyond what is left."""
        ...

    def change(self, per_minute: int | None, now_s: float) -> None:
        """Set another limit; what was spent stays spent."""
        ...


def new_meter(kind: LimitKind, per_minute: int | None, *, burst_s: float) -> Meter:
    """A meter of which nothing is spent; only a bucket has a burst."""
    match kind:
        case "window":
            return Window(per_minute)
        case "second":
            return Window(per_minute, nominal_s=1.0)
        case "bucket":
            return Bucket(per_minute, burst_s)


@dataclass(slots=True)
class Window:
    """What was spent in the last so many seconds, against a share of the limit.

    A window too short for a single unit is made longer, up to one that holds 1; in any other the
    fraction of a unit is never admitted.

    Attributes:
        per_minute: The limit.
        nominal_s: How far it looks back, 60 s or less.
    """

    per_minute: int | None
    nominal_s: float = MINUTE_S
    # Kept without a limit too: one that is set later finds what was spent before it.
    _spent: deque[tuple[float, int]] = field(default_factory=deque)
    _total: int = 0

    def left(self, now_s: float) -> int | None:
        """What may be spent at this moment; None without a limit."""
        self._forget(now_s)
        return None if self.per_minute is None else max(0, int(self._holds - self._total))

    def wait_s(self, now_s: float) -> float:
        """Seconds until enough has slid out of the window."""
        if self.left(now_s) != 0:
            return 0.0
        if self.per_minute == 0:
            return math.inf
        missing = self._total - self._holds + 1
        freed = zip(self._spent, accumulate(amount for _, amount in self._spent), strict=True)
        return next(at_s for (at_s, _), sum_ in freed if sum_ >= missing) + self._length_s - now_s

    def full_s(self, now_s: float) -> float:
        """Seconds until the latest debit has slid out of the window."""
        self._forget(now_s)
        if self.per_minute == 0:
            return math.inf
        return self._spent[-1][0] + self._length_s - now_s if self._spent else 0.0

    def spend(self, amount: int, now_s: float) -> None:
        """Debit an amount."""
        self._forget(now_s)
        self._spent.append((now_s, amount))
        self._total += amount

    def change(self, per_minute: int | None, now_s: float) -> None:
        """Set another limit."""
        self._forget(now_s)
        self.per_minute = per_minute

    @property
    def _holds(self) -> float:
        share = (self.per_minute or 0) * self.nominal_s / MINUTE_S
        return max(share, 1.0) if self.per_minute else 0.0

    @property
    def _length_s(self) -> float:
        return (
            max(self.nominal_s, MINUTE_S / self.per_minute) if self.per_minute else self.nominal_s
        )

    def _forget(self, now_s: float) -> None:
        length_s = self._length_s
        while self._spent and self._spent[0][0] + length_s <= now_s:
            self._total -= self._spent.popleft()[1]


@dataclass(slots=True)
class Bucket:
    """What refills continuously, up to some seconds' worth of the limit and to 1 at least.

    Attributes:
        per_minute: The limit; a sixtieth of it flows in each second.
        burst_s: How many seconds' worth it holds.
    """

    per_minute: int | None
    burst_s: float
    _owed: float = 0.0  # what is missing from a full bucket; more than it holds is a debt
    _at_s: float = -math.inf

    def left(self, now_s: float) -> int | None:
        """What may be spent at this moment; None without a limit."""
        self._refill(now_s)
        if self.per_minute is None:
            return None
        return max(0, math.floor(self._holds - self._owed + _ROUNDING))

    def wait_s(self, now_s: float) -> float:
        """Seconds until 1 has flowed in, and any debt before it."""
        return 0.0 if self.left(now_s) != 0 else self._flow_s(self._owed - self._holds + 1)

    def full_s(self, now_s: float) -> float:
        """Seconds until it is full."""
        self._refill(now_s)
        return self._flow_s(self._owed)

    def spend(self, amount: int, now_s: float) -> None:
        """Debit an amount; the bucket may owe it."""
        self._refill(now_s)
        self._owed += amount

    def change(self, per_minute: int | None, now_s: float) -> None:
        """Set another limit."""
        self._refill(now_s)
        self.per_minute = per_minute

    @property
    def _holds(self) -> float:
        share = (self.per_minute or 0) * self.burst_s / MINUTE_S
        return max(share, 1.0) if self.per_minute else 0.0

    def _flow_s(self, amount: float) -> float:
        if self.per_minute is None:
            return 0.0
        return amount * MINUTE_S / self.per_minute if self.per_minute else math.inf

    def _refill(self, now_s: float) -> None:
        if self.per_minute is None:
            self._owed = 0.0
        elif self._owed:
            inflow = (now_s - self._at_s) * self.per_minute / MINUTE_S
            self._owed = max(0.0, self._owed - inflow)
        self._at_s = now_s
