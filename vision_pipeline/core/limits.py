"""Rate limits and back-off as arithmetic: numbers in, numbers out; somebody else waits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 60.0
MAX_DIGITS = 15  # a longer number is no limit and no wait
UNKNOWN_PAUSE_S = 2.0  # after a refusal that names no wait: Mistral sends no Retry-After

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """What a response says about limits; None where it says nothing.

    Attributes:
        requests_per_minute: The limit of requests in a minute.
        tokens_per_minute: The limit of tokens in a minute.
        retry_after_s: The wait that the server asks for.
    """

    requests_per_minute: int | None
    tokens_per_minute: int | None
    retry_after_s: float | None

    @property
    def forbidden(self) -> bool:
        """A limit of 0: this plan may never use the model, however long one waits."""
        return 0 in (self.requests_per_minute, self.tokens_per_minute)


def read_rate_headers(headers: Mapping[str, str], *, now: datetime) -> RateHeaders:
    """Read Mistral's header set, OpenAI's, and Retry-After.

    Args:
        headers: Response headers, names in lower case.
        now: The time at which the response came, UTC; for Retry-After as a date.
    """
    return RateHeaders(
        requests_per_minute=_first_count(
            headers, "x-ratelimit-limit-req-minute", "x-ratelimit-limit-requests"
        ),
        tokens_per_minute=_first_count(
            headers, "x-ratelimit-limit-tokens-minute", "x-ratelimit-limit-tokens"
        ),
        retry_after_s=_retry_after_s(headers, now),
    )


def _first_count(headers: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        value = headers.get(name, "")
        if value.isdecimal() and len(value) <= MAX_DIGITS:
            return int(value)
    return None


def _retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    if (milliseconds := _first_count(headers, "retry-after-ms")) is not None:
        return milliseconds / 1000
    if value := headers.get("retry-after"):
        return _wait_s(value.strip(), now)
    exhausted = [
        duration_s(headers[f"x-ratelimit-reset-{what}"])
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
        and f"x-ratelimit-reset-{what}" in headers
    ]
    return max((wait for wait in exhausted if wait is not None), default=None)


def _wait_s(value: str, now: datetime) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def duration_s(text: str) -> float | None:
    """OpenAI's spelling of a duration in seconds: `12ms`, `1s`, `6m0s`; None if it is not one."""
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text.strip():
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else None


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
    """A limit spread over a short period, as a leaky bucket holds it.

    Attributes:
        amount: What may be taken within one period.
        period_s: Its length in seconds.
    """

    amount: float
    period_s: float


MINUTE_S = 60.0
PACE_PERIOD_S = 1.0


def pace(per_minute: int, *, largest: float = 1.0) -> Pace:
    """Spread a limit per minute so that no minute, wherever it starts, holds more than the limit.

    A bucket that starts full lets a whole minute's amount through at once and a second one within
    the minute after; a short period keeps that surplus to one period's share.

    Args:
        per_minute: The provider's limit, at least 1.
        largest: The largest amount ever taken at once; the bucket is made to hold it.
    """
    share = per_minute * PACE_PERIOD_S / MINUTE_S
    amount = max(share, largest)
    return Pace(amount=amount, period_s=amount / per_minute * MINUTE_S)
