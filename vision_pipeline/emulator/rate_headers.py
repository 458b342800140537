"""What answers say about limits, in the words of several providers, and when to come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime

from vision_pipeline.emulator.choices import RateHeaderSet, RetryAfter
from vision_pipeline.emulator.limits import ModelQuota, Rung
from vision_pipeline.emulator.meters import Meter

_MINUTE_S, _HOUR_S = 60, 3600


@dataclass(frozen=True, slots=True)
class Account:
    """What there is to say at one moment.

    Attributes:
        quota: The limits of the model.
        now_s: The moment, by the clock of the quota.
        cost_tokens: What the request was charged.
        refused_by: The limit that refused the request; None for an answer.
    """

    quota: ModelQuota
    now_s: float
    cost_tokens: int = 0
    refused_by: Rung | None = None


def rate_headers(kind: RateHeaderSet, account: Account) -> dict[str, str]:
    """The headers of one set; a limit that does not exist has none."""
    return _SETS[kind](account)


def retry_headers(kind: RetryAfter, wait_s: float, *, now: datetime) -> dict[str, str]:
    """The header that tells a wait, never too short; none for a wait without end.

    Args:
        kind: In which words.
        wait_s: Seconds from now.
        now: The time of day, UTC; for a wait that is told as a date.
    """
    if kind == "none" or math.isinf(wait_s):
        return {}
    if kind == "milliseconds":
        return {"retry-after-ms": str(math.ceil(wait_s * 1000))}
    if kind == "seconds":
        return {"retry-after": str(math.ceil(wait_s))}
    moment = now + timedelta(seconds=wait_s)
    whole = moment.replace(microsecond=0)  # an HTTP date has whole seconds
    return {
        "retry-after": format_datetime(
            whole if whole == moment else whole + timedelta(seconds=1), usegmt=True
        )
    }


def _mistral(account: Account) -> dict[str, str]:
    """Measured: refused by requests, an answer names only that limit, and none says a reset."""
    requests = _minute_pair("req", account.quota.requests, account.now_s)
    if account.refused_by == "requests":
        return requests
    return {
        **requests,
        **_minute_pair("tokens", account.quota.tokens, account.now_s),
        "x-ratelimit-tokens-query-cost": str(account.cost_tokens),
    }


def _minute_pair(name: str, meter: Meter, now_s: float) -> dict[str, str]:
    left = meter.left(now_s)
    if left is None:
        return {}
    return {
        f"x-ratelimit-limit-{name}-minute": str(meter.per_minute),
        f"x-ratelimit-remaining-{name}-minute": str(left),
    }


def _legacy(account: Account) -> dict[str, str]:
    """Mistral's set of 2024 and 2025: tokens only. No month is limited here, so none is told."""
    tokens, now_s = account.quota.tokens, account.now_s
    headers = {"ratelimitbysize-query-cost": str(account.cost_tokens)}
    left = tokens.left(now_s)
    if left is None:
        return headers
    headers |= {
        "ratelimitbysize-limit": str(tokens.per_minute),
        "ratelimitbysize-remaining": str(left),
        "x-ratelimitbysize-limit-minute": str(tokens.per_minute),
        "x-ratelimitbysize-remaining-minute": str(left),
    }
    full_s = tokens.full_s(now_s)
    return headers if math.isinf(full_s) else {**headers, "ratelimitbysize-reset": _whole(full_s)}


def _openai(account: Account) -> dict[str, str]:
    return {
        **_openai_three("requests", account.quota.requests, account.now_s),
        **_openai_three("tokens", account.quota.tokens, account.now_s),
    }


def _openai_three(name: str, meter: Meter, now_s: float) -> dict[str, str]:
    left = meter.left(now_s)
    if left is None:
        return {}
    headers = {
        f"x-ratelimit-limit-{name}": str(meter.per_minute),
        f"x-ratelimit-remaining-{name}": str(left),
    }
    full_s = meter.full_s(now_s)
    return headers if math.isinf(full_s) else {**headers, f"x-ratelimit-reset-{name}": span(full_s)}


def _none(_: Account) -> dict[str, str]:
    return {}


def span(seconds: float) -> str:
    """A duration as OpenAI spells it, rounded up to a millisecond: `12ms`, `1.5s`, `6m0s`."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:  # noqa: PLR2004  (a second)
        return f"{milliseconds}ms"
    rest_s = milliseconds / 1000
    hours, rest_s = divmod(rest_s, _HOUR_S)
    minutes, rest_s = divmod(rest_s, _MINUTE_S)
    tail = f"{round(rest_s, 3):g}s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{tail}"
    return f"{minutes:.0f}m{tail}" if minutes else tail


def _whole(seconds: float) -> str:
    return str(math.ceil(seconds))


_SETS: Mapping[RateHeaderSet, Callable[[Account], dict[str, str]]] = {
    "mistral": _mistral,
    "legacy": _legacy,
    "openai": _openai,
    "none": _none,
}
