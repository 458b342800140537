"""Waits and paces as arithmetic: numbers in, numbers out; somebody else waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 60.0
UNKNOWN_PAUSE_S = 1.0  # after a refusal that names no wait: Mistral sends no Retry-After
CAPACITY_PAUSE_S = 10.0  # where the server is full and names none: longer than for a quota


def backoff_s(attempt: int, *, jitter: float) -> float:
    """The wait after the failed attempt with that number, counted from 1.

    Capped exponential with full jitter on the upper half: between half and all of
    `BACKOFF_BASE_S · 2^(attempt-1)`, at most `BACKOFF_CAP_S`.

    Args:
        attempt: From 1.
        jitter: Uniform in [0, 1).
    """
    full = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempt - 1, 32))
    return full * (0.5 + 0.5 * jitter)


@dataclass(frozen=True, slots=True)
class Pace:
    """A rate spread over short periods, as a leaky bucket holds it.

    Attributes:
        amount: What may be taken within one period.
        period_s: Its length in seconds.
    """

    amount: float
    period_s: float


MINUTE_S = 60.0
QuotaKind = Literal["requests", "tokens"]
# Of a quota that several processes use: what one of them sends late falls into another's time, for
# which a quota that is used to the last has no room.
SHARED_FILL = 0.97
PACE_PERIOD_S = 0.5  # servers that keep a limit by the second hold a second's worth


def pace(per_s: float, *, largest: float = 1.0) -> Pace:
    """Spread a rate so that no minute, wherever it starts, holds more than a minute of it.

    A bucket that starts full lets a whole minute's amount through at once and a second one within
    the minute after; a short period keeps that surplus to one period's share.

    Args:
        per_s: The rate, above 0.
        largest: The largest amount ever taken at once; the bucket is made to hold it.
    """
    amount = max(per_s * PACE_PERIOD_S, largest)
    return Pace(amount=amount, period_s=amount / per_s)
