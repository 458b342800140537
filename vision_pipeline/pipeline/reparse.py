"""Rows built anew from stored replies, without opening an image or asking anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.dialogue import read_answer
from vision_pipeline.core.errors import ErrorCode, ItemError, RunError
from vision_pipeline.core.protocol import BrokenReplyError, read_reply
from vision_pipeline.core.question import content_identity, item_key, link_identity
from vision_pipeline.core.records import Item, Row, StoredReply, VisionReply
from vision_pipeline.core.schema import UnusableAnswerError
from vision_pipeline.pipeline.item import log_failure
from vision_pipeline.pipeline.services import ORIGIN, BaseServices, Results
from vision_pipeline.pipeline.shard import answer_columns, log_shard, to_item

_AT_ONCE = 256  # items; between two lots the run can be stopped


@dataclass(slots=True)
class Reparser:
    """Reads stored replies for the items of one run; shared by its shards.

    Shards come one after the other: it is work for one core, and their rows are memory.
    """

    services: BaseServices
    run_id: str
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


async def reparse_shard(reparser: Reparser, shard: int) -> int:
    """Build the rows of one shard anew and write its file; returns how many there are.

    A row whose reply fits the schema of now is an answer to the question of now. One whose reply
    does not is an error and keeps its old question, so that the next run asks the new one. An
    error before any reply stays as it is.

    Raises:
        RunError: Why the run stops; nothing of the shard is written.
    """
    async with reparser.turn:
        try:
            return await _reparse(reparser.services, reparser.run_id, shard)
        except RunError as error:
            reparser.services.stop.request(error)  # the next shard would meet it too
            raise


async def _reparse(services: BaseServices, run_id: str, shard: int) -> int:
    results, started_s = services.results, monotonic()
    items = await asyncio.to_thread(results.shard_items, run_id, shard)
    origins = await asyncio.to_thread(_origins, results, items)
    rows: list[Row] = []
    for start in range(0, items.num_rows, _AT_ONCE):
        if services.stop.cause is not None:
            raise services.stop.cause
        lot = map(to_item, items.slice(start, _AT_ONCE).to_pylist())
        kept: set[str] = set()
        works = (_Work(services, run_id, item, origins[item.item_id], kept) for item in lot)
        done = await asyncio.gather(*(work.row(shard) for work in works))
        for row in done:
            services.progress.add(row)
            if row.status == "error":
                log_failure(row)
        rows += done
    columns = answer_columns(services.question.template)
    with services.progress.activity.stores():
        await asyncio.to_thread(
            results.write_shard, run_id, shard, rows, answer_columns=columns, items=items
        )
    log_shard(run_id, shard, rows, seconds=monotonic() - started_s)
    return len(rows)


def _origins(results: Results, items: pa.Table) -> dict[str, Row]:
    """The earlier row of each item, by its id."""
    origin = items[ORIGIN.name].combine_chunks()
    run_ids, shards = origin.field("run_id"), origin.field("shard")
    found: dict[str, Row] = {}
    for run_id in run_ids.unique().to_pylist():
        is_its = pc.equal(run_ids, run_id)
        rows = results.rows_of(run_id, shards.filter(is_its).unique().to_pylist())
        mine = items["item_id"].filter(is_its).combine_chunks()
        for record in rows.filter(pc.is_in(rows["item_id"], mine)).to_pylist():
            found[record["item_id"]] = Row(**record)
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """A reply that may be the answer.

    Attributes:
        facts: What a row that shows it says of it.
        copy: What the ledger is to keep under the new key if it is; None where it has it, or
            cannot have it.
    """

    reply: VisionReply
    facts: dict[str, Any]
    copy: StoredReply | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """One item.

    Attributes:
        kept: Keys under which a reply of this lot was kept: copies of an image have the same one.
    """

    services: BaseServices
    run_id: str
    item: Item
    origin: Row
    kept: set[str]

    async def row(self, shard: int) -> Row:
        """The item's row of this run."""
        keys = self._keys()
        if keys is not None:
            changes = await self._reread(*keys)
        elif self.origin.prompt_tokens is not None:
            detail = "the stored reply was given to another text, or about other images"
            changes = _own_facts(self.origin) | _failure(ErrorCode.INVALID_ANSWER, detail)
        else:
            changes = {}
        return replace(self.origin, **changes, run_id=self.run_id, shard=shard)

    def _keys(self) -> tuple[str, str] | None:
        """The item's key under the question of now, and its old one.

        None where it was never asked, or where more than the schema has changed for it.
        """
        origin, question = self.origin, self.services.question
        try:
            text = question.template.render(self.item.columns)
        except ItemError:
            return None
        images = list(_identities(self.item, origin))
        old_key = item_key(origin.question_sha256, text, images)
        if old_key != origin.idempotency_key:
            return None
        return item_key(question.sha256, text, images), old_key

    async def _reread(self, new_key: str, old_key: str) -> dict[str, Any]:
        """What the first reply that fits makes of the row, or the last one that does not."""
        changes: dict[str, Any] = {}
        schema = self.services.question.template.schema
        for reading in await self._readings(new_key, old_key):
            try:
                values = read_answer(reading.reply, schema, drops_others=True)
            except UnusableAnswerError as fault:
                detail = f"the stored reply does not fit: {fault}"
                changes = reading.facts | _failure(ErrorCode.INVALID_ANSWER, detail)
            except ItemError as error:
                changes = reading.facts | _failure(error.code, error.detail)
            else:
                if reading.copy is not None and new_key not in self.kept:
                    self.kept.add(new_key)
                    await self.services.ledger.remember(new_key, reading.copy, run_id=self.run_id)
                return reading.facts | self._success(new_key, values)
        return changes

    async def _readings(self, new_key: str, old_key: str) -> list[_Reading]:
        """The reply to the question of now, if there is one, to the old one, and to its repair."""
        stored = {
            key: await self.services.ledger.recall(key) for key in dict.fromkeys([new_key, old_key])
        }
        readings = [
            _stored_reading(reply, is_of_now=key == new_key)
            for key, reply in stored.items()
            if reply is not None
        ]
        origin = self.origin
        # A repaired answer stands in the ledger under the key of its repair, which no row names.
        if origin.prompt_tokens is not None and (origin.repaired or stored[old_key] is None):
            readings.append(_Reading(_own_reply(origin), _own_facts(origin)))
        return [reading for reading in readings if reading is not None]

    def _success(self, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
        question = self.services.question
        return {
            "status": "ok",
            "error_code": None,
            "error_detail": None,
            "prompt": question.template.name,
            "prompt_version": question.template.version,
            "question_sha256": question.sha256,
            "idempotency_key": key,
            "answer": values,
        }


def _failure(code: ErrorCode, detail: str) -> dict[str, Any]:
    return {"status": "error", "error_code": code.value, "error_detail": detail}


def _identities(item: Item, origin: Row) -> Iterator[str]:
    digests = [image["sha256"] for image in origin.images] or [origin.image_sha256]
    for ref, digest in zip(item.images, digests, strict=False):
        # Of an image that the provider fetched itself, nothing but its address is known.
        yield link_identity(ref.uri) if digest is None else content_identity(digest, ref.page)


def _stored_reading(stored: StoredReply, *, is_of_now: bool) -> _Reading | None:
    received = stored.received
    try:
        reply = read_reply(received.body)
    except BrokenReplyError:
        return None
    free = replace(stored, cost_usd=None if stored.cost_usd is None else 0.0, tokens=0)
    facts = {
        "reply_text": reply.text,
        "finish_reason": reply.finish_reason,
        "attempts": received.attempts,
        "repaired": False,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cached_tokens": reply.cached_tokens,
        "cost_usd": free.cost_usd,
        "mode": received.mode,
        "from_ledger": True,
        "queued_s": received.queued_s,
        "latency_s": received.latency_s,
        "answered_at": received.answered_at,
    }
    if reply.model:
        facts["model"] = reply.model
    return _Reading(reply, facts, None if is_of_now else free)


def _own_reply(row: Row) -> VisionReply:
    """The reply of a row, as far as the row has it."""
    return VisionReply(
        text=row.reply_text,
        finish_reason=row.finish_reason,
        model=row.model,
        prompt_tokens=row.prompt_tokens or 0,
        completion_tokens=row.completion_tokens or 0,
        cached_tokens=row.cached_tokens or 0,
    )


def _own_facts(row: Row) -> dict[str, Any]:
    return {"from_ledger": True, "cost_usd": None if row.cost_usd is None else 0.0}
