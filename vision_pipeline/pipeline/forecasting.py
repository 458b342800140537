"""What a plan's calls will take: tokens, money, time, and what would take less."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vision_pipeline.core.forecast import Interval, exactly
from vision_pipeline.core.limits import MINUTE_S
from vision_pipeline.core.models import Price
from vision_pipeline.core.protocol import BrokenReplyError, read_reply
from vision_pipeline.core.records import PreparedImage, SeenImage, StoredReply, VisionRequest
from vision_pipeline.core.sizing import SizeRule
from vision_pipeline.core.usage import Usage, usage_of
from vision_pipeline.pipeline.services import Results


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another setting of a recipe.

    Attributes:
        setting: As `--set` takes it.
        sizes: How images are then sent.
        price: Of the model that is then asked.
    """

    setting: str
    sizes: SizeRule
    price: Price


@dataclass(frozen=True, slots=True)
class Cheaper:
    """What an alternative would take.

    Attributes:
        batch_usd: If they were asked in a batch job.
        saves_usd: Against the recipe as it is, if both turn out as is likely.
    """

    setting: str
    input_tokens: Interval
    usd: Interval
    batch_usd: Interval
    saves_usd: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the calls of a plan will take, in 95 of 100 cases.

    Attributes:
        replies: From how many replies this is known.
        is_known: Whether they tell more than bounds.
        basis: What they were replies to.
        batch_usd: The same calls in a batch job; None where that is no cheaper.
        batch_saves_usd: Against real time, if it turns out as is likely.
        seconds: At the limits as they are known, or None where nothing tells.
        binds: Which setting makes it take that long.
        cheaper: Other settings that would cost less, the cheapest last.
    """

    replies: int
    is_known: bool
    basis: str
    input_tokens: Interval
    output_tokens: Interval
    usd: Interval | None
    seconds: float | None
    binds: str
    cheaper: list[Cheaper] = field(default_factory=list)
    batch_usd: Interval | None = None
    batch_saves_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of a plan.

    Attributes:
        count: How many items will be asked about.
        image_tokens: Exact.
        text_tokens: Estimated.
        other_image_tokens: If images were sent by other rules.
    """

    count: int
    image_tokens: int
    text_tokens: int
    other_image_tokens: Counter[SizeRule]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds calls back.

    Attributes:
        max_tokens: The longest answer.
        context_tokens: The most that a call can take, for the input that is not foreseen.
        requests_per_minute: None where it is not known, as `tokens_per_minute`.
    """

    max_tokens: int
    max_in_flight: int
    context_tokens: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


def tokens_at(sizes: SizeRule, images: Sequence[SeenImage]) -> int:
    """Input tokens of an item's images, if they were sent by that rule."""
    prepared = [image for image in images if isinstance(image, PreparedImage)]
    sent = [sizes.sent(each.source_width_px, each.source_height_px) for each in prepared]
    return sum(map(sizes.tokens, sent))


def usage_stored(stored: StoredReply, request: VisionRequest) -> Usage:
    """What a stored reply took; nothing where it is none that can be read."""
    try:
        reply = read_reply(stored.received.body)
    except BrokenReplyError:
        return Usage()
    return usage_of(
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        estimated_tokens=request.estimated_tokens,
        latency_s=stored.received.latency_s,
    )


def forecast(
    calls: Calls,
    usage: Usage,
    *,
    price: Price | None,
    bounds: Bounds,
    alternatives: Sequence[Alternative] = (),
) -> Forecast:
    """What calls will take, by what earlier replies took."""
    output = usage.output_tokens.of_sum(calls.count, most=bounds.max_tokens)
    extra = exactly(0.0)
    if usage.is_telling:
        most = bounds.context_tokens
        extra = usage.extra_tokens.of_sum(calls.count, most=most, least=-most)

    def taken(image_tokens: int) -> Interval:
        return exactly(image_tokens + calls.text_tokens) + extra

    def costs(tokens: Interval, rate: Price) -> Interval:
        return (tokens * rate.input + output * rate.output) * 1e-6

    tokens = taken(calls.image_tokens)
    usd = None if price is None else costs(tokens, price)
    batch_usd = None
    if price is not None and usd is not None and price.batch < 1:
        batch_usd = usd * price.batch
    seconds, binds = _time(calls.count, tokens.likely + output.likely, usage, bounds)
    cheaper = []
    for each in alternatives if usd is not None and calls.count else ():
        others = taken(calls.other_image_tokens[each.sizes])
        saves = usd.likely - (other := costs(others, each.price)).likely  # type: ignore[union-attr]
        if saves > 0:
            batch = other * each.price.batch
            cheaper.append(Cheaper(each.setting, others, other, batch, saves))
    cheaper.sort(key=lambda each: each.saves_usd)
    return Forecast(
        replies=usage.replies,
        is_known=usage.is_telling,
        basis=usage.basis,
        input_tokens=tokens,
        output_tokens=output,
        usd=usd,
        seconds=seconds,
        binds=binds,
        cheaper=cheaper,
        batch_usd=batch_usd,
        batch_saves_usd=usd.likely - batch_usd.likely if usd and batch_usd else None,
    )


def known_limits(results: Results) -> Mapping[str, Any]:
    """The limits a minute as the latest run that knew them has noted."""
    for run_id in reversed(results.run_ids()):
        summary = results.read_run(run_id).get("summary") or {}
        traffic: Mapping[str, Any] = summary.get("traffic") or {}
        if traffic.get("requests_per_minute") or traffic.get("tokens_per_minute"):
            return traffic
    return {}


def _time(count: int, tokens: float, usage: Usage, bounds: Bounds) -> tuple[float | None, str]:
    times: dict[str, float] = {}
    if bounds.requests_per_minute:
        times["the limit of requests"] = count / bounds.requests_per_minute * MINUTE_S
    if bounds.tokens_per_minute:
        times["the limit of tokens"] = tokens / bounds.tokens_per_minute * MINUTE_S
    if usage.replies:
        at_once = min(bounds.max_in_flight, max(count, 1))
        times["limits.max_in_flight"] = count * usage.mean_latency_s / at_once
    if not times:
        return None, ""
    binds = max(times, key=lambda each: times[each])
    return times[binds], binds
