"""What a run would ask: the same work up to the first call, or to a few of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.models import total_usd
from vision_pipeline.core.records import (
    Item,
    PreparedImage,
    Row,
    SeenImage,
    StoredReply,
    VisionRequest,
)
from vision_pipeline.core.sizing import SizeRule
from vision_pipeline.core.usage import THIS_QUESTION, Usage, usage_of
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.batch.run import check_jobs
from vision_pipeline.pipeline.budget import budget_of, unlimited
from vision_pipeline.pipeline.forecasting import (
    Alternative,
    Bounds,
    Calls,
    Forecast,
    forecast,
    known_limits,
    tokens_at,
    usage_stored,
)
from vision_pipeline.pipeline.item import Work, analyze_item, converse, pose
from vision_pipeline.pipeline.outlook import Prospect, prospects
from vision_pipeline.pipeline.plan import Pending, unfinished
from vision_pipeline.pipeline.services import Services
from vision_pipeline.pipeline.shard import to_item

UNKNOWN_CONTEXT_TOKENS = 262_144  # of a model that the catalogue does not know
SAMPLE_RUN = "sample"  # in the ledger: who paid


@dataclass(slots=True)
class Estimate:
    """Counts of what a run would do.

    Attributes:
        to_ask: Items that would cost a call, each question once.
        already_answered: Items whose latest row answers this question.
        already_failed: Items that failed at it for good.
        from_ledger: Items whose reply was paid for before, under another name or run; of items
            selected by their errors, those of which it is an answer by now.
        duplicates: Items that ask the same as another one of this plan.
        image_tokens: Exact, of the images that would be sent.
        text_tokens: Estimated, of prompt and system text.
        sent_bytes: Size of the images that would be sent, before base64.
        errors: Items that would become error rows without a call, by code.
        examples: For each of these codes, an item that has it, and its detail.
        sampled: Items that were asked about, to learn what replies take; they are none of `to_ask`.
        forecast: What the calls will take.
        budget: How far each limit on spending will go.
    """

    items: int = 0
    to_ask: int = 0
    already_answered: int = 0
    already_failed: int = 0
    from_ledger: int = 0
    duplicates: int = 0
    image_tokens: int = 0
    text_tokens: int = 0
    source_bytes: int = 0
    sent_bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    sampled: int = 0
    sample_usd: float | None = None
    forecast: Forecast | None = None
    budget: list[Prospect] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        # `asdict` makes pairs of a counter's keys.
        return asdict(replace(self, errors=Counter())) | {"errors": dict(self.errors)}


async def estimate(
    services: Services, *, alternatives: Sequence[Alternative] = (), sample: int = 0
) -> Estimate:
    """Prepare every pending item and count, without writing a row.

    Args:
        services: Opened without asking anybody, but for a sample.
        alternatives: Other settings, to be compared.
        sample: Ask about so many of the items, drawn evenly, to learn what replies take. They are
            paid for, and kept in the ledger, so that a run does not pay for them again.

    Raises:
        SourceError: The source cannot be listed, or holds no image.
        ConfigError: Columns of the source and the prompt do not fit together.
        StoppedError: It was asked to stop.
        RunError: Of a sample: nothing more can be asked.
    """
    count = _Count(services, alternatives, sample)
    await count.through()
    found = count.found
    if count.drawn:
        await _ask(services, count)
    usage = await asyncio.to_thread(services.history.usage, services.question)
    if usage.basis == THIS_QUESTION:
        usage += count.known
    elif count.known.is_telling:
        usage = count.known
    config = services.config
    limits = await asyncio.to_thread(known_limits, services.results)
    found.forecast = forecast(
        Calls(found.to_ask, found.image_tokens, found.text_tokens, count.other_tokens),
        usage,
        price=services.price,
        bounds=Bounds(
            max_tokens=config.model.max_tokens,
            max_in_flight=config.limits.max_in_flight,
            context_tokens=services.context_tokens or UNKNOWN_CONTEXT_TOKENS,
            requests_per_minute=_number(config.limits.requests_per_minute)
            or limits.get("requests_per_minute"),
            tokens_per_minute=_number(config.limits.tokens_per_minute)
            or limits.get("tokens_per_minute"),
        ),
        alternatives=alternatives,
    )
    going_on = await asyncio.to_thread(unfinished, services.results, count.pending)
    budget = await budget_of(services, going_on)
    mode = config.execution.mode
    found.budget = prospects(budget.limits, found.to_ask, found.forecast, mode=mode)
    return found


def _number(limit: int | str) -> float | None:
    return None if isinstance(limit, str) else float(limit)


async def _ask(services: Services, count: _Count) -> None:
    """Learn what replies about the drawn items take; they are asked about no more."""
    await asyncio.to_thread(check_jobs, services, SAMPLE_RUN)
    asker = Asker(services, SAMPLE_RUN, await budget_of(services, None))

    async def ask(drawn: _Drawn) -> Row:
        async with services.slots:
            return await analyze_item(asker, drawn.item, shard=0)

    rows = await asyncio.gather(*map(ask, count.drawn))
    for row, drawn in zip(rows, count.drawn, strict=True):
        if row.prompt_tokens is not None:
            count.replied(drawn, row)
    count.found.sample_usd = total_usd(row.cost_usd for row in rows)


class _Reader(Asker):
    """Has the replies that are stored, and asks nobody."""

    async def _pay(self, request: VisionRequest, payer: str) -> StoredReply:
        raise LookupError(f"{payer}: {request.idempotency_key}: no such reply")


async def _suffices(services: Services, item: Item, request: VisionRequest) -> bool:
    """Whether the item's row will need no call, where a reply is stored."""
    if not services.selection.codes:
        return True
    try:  # a retry asks anew where what is stored brings an error back
        await converse(_Reader(services, "", unlimited()), Work(item), request)
    except (ItemError, LookupError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Drawn:
    """An item of the sample, and what it added to the counts."""

    item: Item
    image_tokens: int
    text_tokens: int
    other_tokens: Counter[SizeRule]
    sent_bytes: int


class _Count:
    """Goes through the pending items."""

    def __init__(self, services: Services, alternatives: Sequence[Alternative], most: int) -> None:
        self.found = Estimate()
        self.other_tokens: Counter[SizeRule] = Counter()
        self.drawn: list[_Drawn] = []
        self.known = Usage(basis=THIS_QUESTION)
        self._services = services
        # Most models see images alike: each size is reckoned once.
        self._sizes = {each.sizes for each in alternatives}
        self._most_drawn = most
        self._dice = random.Random(0)
        self._seen: set[str] = set()

    async def through(self) -> None:
        """Count them all."""
        services, found = self._services, self.found
        self.pending = pending = await asyncio.to_thread(Pending, services)
        tasks: set[asyncio.Task[None]] = set()
        batches = pending.batches()
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            for record in batch.to_pylist():
                await services.slots.acquire()
                if services.stop.cause is not None:
                    raise services.stop.cause
                task = asyncio.create_task(self._one(to_item(record)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        progress = services.progress
        found.already_answered = progress.already_answered
        found.already_failed = progress.already_failed
        found.items += found.already_answered + found.already_failed
        found.skipped = pending.skipped()

    def replied(self, drawn: _Drawn, row: Row) -> None:
        """Count an item of the sample as one whose reply is stored."""
        self.known += usage_of(
            prompt_tokens=row.prompt_tokens or 0,
            completion_tokens=row.completion_tokens or 0,
            estimated_tokens=row.estimated_tokens or 0,
            latency_s=row.latency_s or 0.0,
        )
        self.found.to_ask -= 1
        self.found.from_ledger += 1
        self.found.sampled += 1
        self.found.image_tokens -= drawn.image_tokens
        self.found.text_tokens -= drawn.text_tokens
        self.found.sent_bytes -= drawn.sent_bytes
        self.other_tokens.subtract(drawn.other_tokens)

    async def _one(self, item: Item) -> None:
        try:
            await self._add(item)
        finally:
            self._services.slots.release()

    async def _add(self, item: Item) -> None:
        services, found = self._services, self.found
        found.items += 1
        services.progress.done += 1
        images: list[SeenImage] = []
        try:
            request = await pose(services, item, images)
        except ItemError as error:
            self._fail(item, error.code, error.detail)
            return
        key = request.idempotency_key
        if key in self._seen:
            found.duplicates += 1
            return
        self._seen.add(key)
        stored = None if services.fresh else await services.ledger.recall(key)
        if stored is not None and await _suffices(services, item, request):
            found.from_ledger += 1
            self.known += usage_stored(stored, request)
            return
        found.to_ask += 1
        tokens = sum(services.question.image_tokens(image) for image in request.images)
        found.image_tokens += tokens
        found.text_tokens += request.estimated_tokens - tokens
        others = Counter({sizes: tokens_at(sizes, images) for sizes in self._sizes})
        self.other_tokens.update(others)
        prepared = [image for image in images if isinstance(image, PreparedImage)]
        sent_bytes = sum(len(image.data) for image in prepared)
        found.source_bytes += sum(image.source_bytes for image in prepared)
        found.sent_bytes += sent_bytes
        text_tokens = request.estimated_tokens - tokens
        self._draw(_Drawn(item, tokens, text_tokens, others, sent_bytes))

    def _fail(self, item: Item, code: ErrorCode, detail: str) -> None:
        self.found.errors[code.value] += 1
        self.found.examples.setdefault(code.value, f"{item.item_id}: {detail}")

    def _draw(self, candidate: _Drawn) -> None:
        """Keep a sample of all items so far, each as likely as any other (Vitter's algorithm R)."""
        if len(self.drawn) < self._most_drawn:
            self.drawn.append(candidate)
        elif (place := self._dice.randrange(self.found.to_ask)) < self._most_drawn:
            self.drawn[place] = candidate
