"""The words that a setting can be, one list a setting. Imports nothing, for quick command lines."""

from __future__ import annotations

from typing import Literal, get_args

EngineName = Literal["ocr", "synthetic"]
LimitKind = Literal["window", "second", "bucket"]
RateHeaderSet = Literal["mistral", "legacy", "openai", "none"]
RetryAfter = Literal["none", "seconds", "milliseconds", "date"]
LatencyModel = Literal["constant", "vendor"]

ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

CHOICES: dict[str, tuple[str, ...]] = {
    "engine": ENGINE_NAMES,
    "limit_kind": get_args(LimitKind),
    "rate_headers": get_args(RateHeaderSet),
    "retry_after": get_args(RetryAfter),
    "latency_model": get_args(LatencyModel),
}
