"""Settings that may cost less than those of a recipe."""

from __future__ import annotations

from datetime import UTC, date, datetime

from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.models import ModelSpec, Price
from vision_pipeline.core.sizing import SizeRule
from vision_pipeline.pipeline.forecasting import Alternative
from vision_pipeline.wiring.library import load_catalogue

SIDES_PX = (1024, 768, 512)


def alternatives(config: RunConfig, *, today: date | None = None) -> list[Alternative]:
    """Smaller images, and models that cost less; none for a model without a price.

    Args:
        config: The recipe.
        today: Models that are retired by then are left out; null: by now.
    """
    catalogue = load_catalogue()
    spec = catalogue.find(config.model.name)
    if spec is None or spec.price is None or config.image.send == "url":
        return []
    side = min(config.image.max_side_px, spec.max_side_px)
    smaller = [
        Alternative(f"image.max_side_px={px}", _sizes(config, spec, px), spec.price)
        for px in SIDES_PX
        if px < side
    ]
    living = catalogue.living(today or datetime.now(UTC).date())
    others = [
        Alternative(f"model.name={each.id}", _sizes(config, each, side), each.price)
        for each in living
        if each.price is not None and _is_below(each.price, spec.price)
    ]
    return smaller + others


def _sizes(config: RunConfig, spec: ModelSpec, side_px: int) -> SizeRule:
    side = min(side_px, spec.max_side_px)
    return SizeRule(side, spec.patch_px, config.image.max_image_tokens)


def _is_below(one: Price, other: Price) -> bool:
    """Whether a model may cost less, depending on how long its answers are."""
    return one.input < other.input or one.output < other.output
