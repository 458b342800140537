"""How far a budget will go, by what a plan's calls are likely to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision_pipeline.core.forecast import Interval
from vision_pipeline.core.records import Mode
from vision_pipeline.pipeline.budget import Limit
from vision_pipeline.pipeline.forecasting import Forecast


@dataclass(frozen=True, slots=True)
class Prospect:
    """One limit, and the calls of a plan.

    Attributes:
        key: In the config.
        most: USD or tokens, as `left`.
        left: What is not spent yet.
        suffices: Whether all calls will surely fit.
        calls: How many are likely to fit.
    """

    key: str
    most: float
    left: float
    suffices: bool
    calls: int


def prospects(
    limits: Sequence[Limit], to_ask: int, forecast: Forecast, *, mode: Mode
) -> list[Prospect]:
    """How many of a plan's calls each limit allows, at the price of how they are asked."""
    tokens = forecast.input_tokens + forecast.output_tokens
    is_cheaper = mode == "batch" and forecast.batch_usd is not None
    taken = {"usd": forecast.batch_usd if is_cheaper else forecast.usd, "tokens": tokens}
    return [_prospect(limit, to_ask, taken[limit.unit]) for limit in limits]


def _prospect(limit: Limit, to_ask: int, taken: Interval | None) -> Prospect:
    # Without a price no limit is in money; what takes nothing fits.
    likely, high = (taken.likely, taken.high) if taken else (0.0, 0.0)
    calls = min(to_ask, int(to_ask * limit.left / likely)) if likely else to_ask
    return Prospect(limit.key, limit.most, limit.left, high <= limit.left, calls)
