"""What a response says about rate limits, in the words of several providers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_DIGITS = 15  # a longer number is no limit and no wait

_LONGEST_MINUTE_S = 600.0  # what a minute's limit may seem to take, as resets are rounded
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """What a response says about limits; None where it says nothing.

    Attributes:
        requests_per_minute: The limit of requests in a minute.
        tokens_per_minute: The limit of tokens in a minute.
        retry_after_s: The wait that the server asks for.
        requests_left: Requests that may be sent at once, where the limit is a sliding window of a
            minute.
        tokens_left: Tokens, likewise.
        debited_tokens: What the request was charged.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    retry_after_s: float | None = None
    requests_left: int | None = None
    tokens_left: int | None = None
    debited_tokens: int | None = None

    @property
    def forbidden(self) -> bool:
        """A limit of 0: this plan may never use the model, however long one waits."""
        return 0 in (self.requests_per_minute, self.tokens_per_minute)


def read_rate_headers(headers: Mapping[str, str], *, now: datetime) -> RateHeaders:
    """Read Mistral's header sets of now and before, OpenAI's, and Retry-After.

    Only Mistral's say that what is left may be used at once; OpenAI's `remaining` is of a limit
    that is also kept within a second.

    Args:
        headers: Response headers, names in lower case.
        now: The time at which the response came, UTC; for Retry-After as a date.
    """
    return RateHeaders(
        requests_per_minute=_either(
            _first_count(headers, "x-ratelimit-limit-req-minute"),
            _openai_limit(headers, "requests"),
        ),
        tokens_per_minute=_either(
            _first_count(
                headers, "x-ratelimit-limit-tokens-minute", "x-ratelimitbysize-limit-minute"
            ),
            _openai_limit(headers, "tokens"),
        ),
        retry_after_s=_retry_after_s(headers, now),
        requests_left=_first_count(headers, "x-ratelimit-remaining-req-minute"),
        tokens_left=_first_count(
            headers, "x-ratelimit-remaining-tokens-minute", "x-ratelimitbysize-remaining-minute"
        ),
        debited_tokens=_first_count(
            headers, "x-ratelimit-tokens-query-cost", "ratelimitbysize-query-cost"
        ),
    )


def _first_count(headers: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        value = headers.get(name, "")
        if value.isdecimal() and len(value) <= MAX_DIGITS:
            return int(value)
    return None


def _either(first: int | None, second: int | None) -> int | None:
    return second if first is None else first


def _openai_limit(headers: Mapping[str, str], what: str) -> int | None:
    """The limit of a minute; None where the time until it is whole again tells of a longer one.

    OpenAI (free plan) and Groq give the limit of a day in the same header.
    """
    limit = _first_count(headers, f"x-ratelimit-limit-{what}")
    left = _first_count(headers, f"x-ratelimit-remaining-{what}")
    reset_s = duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))
    if limit is None or left is None or reset_s is None or left >= limit:
        return limit
    # In whole seconds a reset says nothing of a period: one request of many comes back in one.
    is_rounded = reset_s <= 1
    period_s = reset_s * limit / (limit - left)
    return None if period_s > _LONGEST_MINUTE_S and not is_rounded else limit


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
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return seconds if parts and math.isfinite(seconds) else None
