"""One item, from its references to its row."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from vision_pipeline.core.addresses import without_credentials
from vision_pipeline.core.dialogue import Answer, dialogue, read_answer
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.records import (
    ImageRef,
    Item,
    LinkedImage,
    Row,
    SeenImage,
    SourceImage,
    UnpreparedImage,
    VisionImage,
    VisionRequest,
)
from vision_pipeline.core.schema import UnusableAnswerError
from vision_pipeline.pipeline.ask import Asker, Spending
from vision_pipeline.pipeline.services import Services

MAX_URI_CHARS = 200  # of a data URL in a row; what it holds is named by image_sha256
WEB = ("http://", "https://")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Work:
    """What is known of an item so far; whatever happens, its row tells that much."""

    item: Item
    images: list[SeenImage] = field(default_factory=list)
    request: VisionRequest | None = None
    spending: Spending = field(default_factory=Spending)
    repaired: bool = False


async def analyze_item(asker: Asker, item: Item, *, shard: int) -> Row:
    """Ask about one item.

    Returns:
        Its row: the answer, or the error that it was given up for.

    Raises:
        RunError: No other item can succeed either.
    """
    work = Work(item)
    try:
        answer = await answer_for(asker, work)
    except ItemError as error:
        row = _row(asker, work, shard, error=error)
        log_failure(row)
        return row
    return _row(asker, work, shard, answer=answer)


def log_failure(row: Row) -> None:
    """Note that an item has no answer."""
    names = ("run_id", "shard", "item_id", "error_code", "error_detail")
    told = {name: getattr(row, name) for name in names}
    log.info("item %(item_id)s: %(error_code)s: %(error_detail)s", told, extra=told)


async def answer_for(asker: Asker, work: Work) -> Answer:
    """The answer about an item.

    Args:
        asker: Of whom, or of what is stored.
        work: The item; gets what comes to be known of it.

    Raises:
        ItemError: There is none.
        RunError: No other item can succeed either.
    """
    work.request = await pose(asker.services, work.item, work.images)
    try:
        return await converse(asker, work, work.request)
    except ItemError as error:
        spending = work.spending
        is_recalled = spending.last is not None and not spending.paid
        if error.code.is_transient or not (asker.services.selection.codes and is_recalled):
            raise
    # A retry, and the reply that is stored brings the old error back: it is asked for anew.
    work.spending, work.repaired = Spending(), False
    return await converse(asker, work, work.request, renew=True)


async def pose(services: Services, item: Item, images: list[SeenImage]) -> VisionRequest:
    """The question about an item, ready to be asked.

    Args:
        services: Readers and settings.
        item: What to ask about.
        images: Filled with the images as prepared, or with what is known of the one that fails.

    Raises:
        ItemError: An image cannot be read or prepared, or there are too few or too many. Of
            several images, the detail begins with the one that is meant.
    """
    template = services.question.template
    most = min(template.max_images, services.max_images)
    if not template.min_images <= len(item.images) <= most:
        detail = (
            f"{len(item.images)} images in one request; the prompt {template.name} with this "
            f"model takes {template.min_images} to {most}"
        )
        raise ItemError(ErrorCode.IMAGE_COUNT, detail)
    text = template.render(item.columns)
    max_bytes = min(services.max_image_bytes, services.max_request_bytes // len(item.images))
    prepared: list[VisionImage] = []
    for ref in item.images:
        try:
            prepared.append(await _image(services, ref, max_bytes, images))
        except ItemError as error:
            if len(item.images) == 1:
                raise
            detail = f"{_shown(ref)}: {error.detail}"
            raise ItemError(error.code, detail, version=error.version) from error
        images.append(prepared[-1])
    return services.question.ask(text, prepared)


async def _image(
    services: Services, ref: ImageRef, max_bytes: int, images: list[SeenImage]
) -> VisionImage:
    if services.config.image.send == "url" and ref.uri.startswith(WEB):
        return LinkedImage(ref.uri)
    source = None
    async with services.preparing:
        with services.progress.activity.prepares():
            try:
                source = await services.images.read(ref)
                return await services.preparer.prepare(
                    source, page=ref.page, max_sent_bytes=max_bytes
                )
            except ItemError as error:
                images.append(_unprepared(source, error))
                raise


def _unprepared(source: SourceImage | None, error: ItemError) -> UnpreparedImage:
    if source is None:
        return UnpreparedImage(version=error.version)
    digest = hashlib.sha256(source.data).hexdigest()
    return UnpreparedImage(digest, len(source.data), source.version)


async def converse(
    asker: Asker, work: Work, request: VisionRequest, *, renew: bool = False
) -> Answer:
    """The answer to a question, after at most one repair turn.

    Args:
        asker: Of whom, or of what is stored.
        work: Gets what it cost.
        request: The question.
        renew: Take no reply of an earlier run.

    Raises:
        ItemError: There is none.
        RunError: Nothing more can be asked.
    """
    schema = asker.services.question.template.schema
    talk = dialogue(request, schema)
    turn = next(talk)
    while True:
        reply = await asker.ask(
            turn, item_id=work.item.item_id, spending=work.spending, renew=renew
        )
        try:
            turn = talk.send(reply)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        if not work.spending.paid and not await asker.knows(turn):
            # A stored reply, perhaps to a schema with more keys: no call is worth their absence.
            with suppress(UnusableAnswerError):
                return Answer(read_answer(reply, schema, drops_others=True), repaired=False)
        work.repaired = True


def _row(
    asker: Asker,
    work: Work,
    shard: int,
    *,
    answer: Answer | None = None,
    error: ItemError | None = None,
) -> Row:
    services, question = asker.services, asker.services.question
    spending, reply = work.spending, work.spending.last_reply
    received = spending.last.received if spending.last else None
    uris = [_shown(ref) for ref in work.item.images]
    return Row(
        item_id=work.item.item_id,
        image_uri=uris[0],
        **(_facts(work.images[0]) if work.images else {}),
        images=_images(work, uris),
        status="ok" if error is None else "error",
        error_code=error.code.value if error else None,
        error_detail=error.detail if error else None,
        reply_text=reply.text if reply else None,
        finish_reason=reply.finish_reason if reply else None,
        attempts=spending.attempts,
        repaired=work.repaired,
        provider=services.config.model.provider,
        model=(reply.model if reply else "") or question.model,
        prompt=question.template.name,
        prompt_version=question.template.version,
        question_sha256=question.sha256,
        idempotency_key=work.request.idempotency_key if work.request else None,
        prompt_tokens=spending.prompt_tokens if reply else None,
        completion_tokens=spending.completion_tokens if reply else None,
        cached_tokens=spending.cached_tokens if reply else None,
        estimated_tokens=work.request.estimated_tokens if work.request else None,
        cost_usd=spending.cost_usd,
        mode=received.mode if received else None,
        from_ledger=reply is not None and not spending.paid,
        queued_s=spending.queued_s if reply else None,
        latency_s=(spending.latency_s or None) if reply else None,  # a batch tells of none
        answered_at=received.answered_at if received else None,
        run_id=asker.run_id,
        shard=shard,
        answer=answer.values if answer else None,
    )


def _facts(image: SeenImage) -> dict[str, Any]:
    if isinstance(image, LinkedImage):
        return {}
    read = {
        "image_sha256": image.source_sha256,
        "image_bytes": image.source_bytes,
        "image_version": image.version or None,
    }
    if isinstance(image, UnpreparedImage):
        return read
    return read | {
        "image_format": image.source_format,
        "image_width_px": image.source_width_px,
        "image_height_px": image.source_height_px,
        "image_note": image.note or None,
        "sent_width_px": image.width_px,
        "sent_height_px": image.height_px,
        "sent_bytes": len(image.data),
    }


def _images(work: Work, uris: list[str]) -> tuple[Mapping[str, Any], ...]:
    if len(uris) == 1:  # the top-level columns say it all
        return ()
    facts = [_facts(image) for image in work.images]
    facts += [{} for _ in uris[len(facts) :]]
    return tuple(
        {"uri": uri} | {name.removeprefix("image_"): value for name, value in fact.items()}
        for uri, fact in zip(uris, facts, strict=True)
    )


def _shown(ref: ImageRef) -> str:
    if ref.uri.startswith("data:"):
        return ref.uri if len(ref.uri) <= MAX_URI_CHARS else f"{ref.uri[:MAX_URI_CHARS]}…"
    page = "" if ref.page is None else f"#page={ref.page}"
    return without_credentials(ref.uri) + page
