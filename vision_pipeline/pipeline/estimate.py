"""What a run would ask: the same work up to the first call."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from vision_pipeline.core.errors import ItemError
from vision_pipeline.core.records import (
    Item,
    PreparedImage,
    SeenImage,
    StoredReply,
    VisionRequest,
)
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.budget import unlimited
from vision_pipeline.pipeline.item import Work, converse, pose
from vision_pipeline.pipeline.plan import Pending
from vision_pipeline.pipeline.services import Services
from vision_pipeline.pipeline.shard import to_item


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
        input_usd: List price of those input tokens, or None for a model without one.
        sent_bytes: Size of the images that would be sent, before base64.
        errors: Items that would become error rows without a call, by code.
        examples: For each of these codes, an item that has it, and its detail.
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
    input_usd: float | None = None
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def estimate(services: Services) -> Estimate:
    """Prepare every pending item and count, without a call and without writing.

    Raises:
        SourceError: The source cannot be listed, or holds no image.
        ConfigError: Columns of the source and the prompt do not fit together.
        StoppedError: It was asked to stop.
    """
    pending = Pending(services)
    found = Estimate()
    seen: set[str] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def one(item: Item) -> None:
        try:
            await _count(services, item, found, seen)
        finally:
            services.slots.release()

    batches = pending.batches()
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        for record in batch.to_pylist():
            await services.slots.acquire()
            if services.stop.cause is not None:
                raise services.stop.cause
            task = asyncio.create_task(one(to_item(record)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    progress = services.progress
    found.already_answered, found.already_failed = (
        progress.already_answered,
        progress.already_failed,
    )
    found.items += found.already_answered + found.already_failed
    found.skipped = pending.skipped()
    if services.price is not None:
        tokens = found.image_tokens + found.text_tokens
        found.input_usd = services.price.cost_usd(
            prompt_tokens=tokens, completion_tokens=0, cached_tokens=0
        )
    return found


async def _count(services: Services, item: Item, found: Estimate, seen: set[str]) -> None:
    found.items += 1
    services.progress.done += 1
    images: list[SeenImage] = []
    try:
        request = await pose(services, item, images)
    except ItemError as error:
        found.errors[error.code] += 1
        found.examples.setdefault(error.code, f"{item.item_id}: {error.detail}")
        return
    key = request.idempotency_key
    if key in seen:
        found.duplicates += 1
        return
    seen.add(key)
    if await _is_stored(services, item, request):
        found.from_ledger += 1
        return
    found.to_ask += 1
    tokens = sum(services.question.image_tokens(image) for image in request.images)
    found.image_tokens += tokens
    found.text_tokens += request.estimated_tokens - tokens
    for image in images:
        if isinstance(image, PreparedImage):
            found.source_bytes += image.source_bytes
            found.sent_bytes += len(image.data)


class _Reader(Asker):
    """Has the replies that are stored, and asks nobody."""

    async def _pay(self, request: VisionRequest, payer: str) -> StoredReply:
        raise LookupError(f"{payer}: {request.idempotency_key}: no such reply")


async def _is_stored(services: Services, item: Item, request: VisionRequest) -> bool:
    """Whether the item's row will need no call."""
    if services.fresh or await services.ledger.recall(request.idempotency_key) is None:
        return False
    if not services.selection.codes:
        return True
    try:  # a retry asks anew where what is stored brings an error back
        await converse(_Reader(services, "", unlimited()), Work(item), request)
    except (ItemError, LookupError):
        return False
    return True
