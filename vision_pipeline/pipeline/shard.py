"""One shard: its items worked on side by side, its rows written whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

import pyarrow as pa

from vision_pipeline.core.columns import ColumnType, Scalar
from vision_pipeline.core.dialogue import FREE_TEXT_COLUMN
from vision_pipeline.core.errors import StoppedError
from vision_pipeline.core.prompts import PromptTemplate
from vision_pipeline.core.records import ImageRef, Item, Row
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.fingerprints import FINGERPRINT
from vision_pipeline.pipeline.item import analyze_item
from vision_pipeline.pipeline.services import ORIGIN

log = logging.getLogger(__name__)


async def analyze_shard(asker: Asker, shard: int) -> int:
    """Work through one shard and write its file; returns how many rows it has.

    When the run is asked to stop, or this task is cancelled, nothing new is begun, requests on the
    wire get some seconds to finish, and their replies are in the ledger; the shard is written only
    if every row is there.

    Raises:
        RunError: Why the run stops.
    """
    services = asker.services
    started_s = monotonic()
    table, rows = await _Shard(asker, shard).work()
    with services.progress.activity.stores():
        await asyncio.to_thread(
            services.results.write_shard,
            asker.run_id,
            shard,
            rows,
            answer_columns=answer_columns(services.question.template),
            items=table,
        )
    log_shard(asker.run_id, shard, rows, seconds=monotonic() - started_s)
    return len(rows)


def log_shard(run_id: str, shard: int, rows: Sequence[Row], *, seconds: float) -> None:
    """Note that a shard is written."""
    told = {
        "run_id": run_id,
        "shard": shard,
        "rows": len(rows),
        "errors": sum(row.status == "error" for row in rows),
        "seconds": round(seconds, 3),
    }
    log.info(
        "shard %(shard)d of run %(run_id)s: %(rows)d rows, %(errors)d errors, %(seconds).1f s",
        told,
        extra=told,
    )


def to_item(record: Mapping[str, Any]) -> Item:
    """An item from a row of the frozen manifest."""
    columns = dict(record)
    images = columns.pop("images")
    for hidden in (FINGERPRINT, ORIGIN):
        columns.pop(hidden.name, None)
    return Item(
        item_id=columns.pop("item_id"),
        images=tuple(ImageRef(**image) for image in images),
        columns=columns,
    )


def answer_columns(template: PromptTemplate) -> tuple[tuple[str, ColumnType], ...]:
    """Names and types of the columns that a template's answers fill."""
    if template.schema is None:
        return ((FREE_TEXT_COLUMN, Scalar.STRING),)
    return template.schema.columns


class _Shard:
    def __init__(self, asker: Asker, shard: int) -> None:
        self._asker = asker
        self._services = asker.services
        self._shard = shard
        self._table: pa.Table | None = None
        self._rows: list[Row | None] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def work(self) -> tuple[pa.Table, list[Row]]:
        """The items as listed, and a row for each."""
        stop = self._services.stop
        feeding = asyncio.create_task(self._feed())
        stopping = asyncio.create_task(stop.requested.wait())
        try:
            await asyncio.wait({feeding, stopping}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            stop.by_user()
            await self._drain(feeding)
            raise
        finally:
            stopping.cancel()
        if feeding.done():
            feeding.result()
        else:
            await self._drain(feeding)
        rows = [row for row in self._rows if row is not None]
        if self._table is not None and len(rows) == self._table.num_rows:
            return self._table, rows
        raise stop.cause or StoppedError("rows are missing")

    async def _feed(self) -> None:
        async with self._asker.feeding:
            results, run_id = self._services.results, self._asker.run_id
            table = await asyncio.to_thread(results.shard_items, run_id, self._shard)
            self._table, self._rows = table, [None] * table.num_rows
            for index, record in enumerate(table.to_pylist()):
                await self._services.slots.acquire()
                task = asyncio.create_task(self._one(index, to_item(record)))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _one(self, index: int, item: Item) -> None:
        try:
            row = await analyze_item(self._asker, item, shard=self._shard)
        finally:
            self._services.slots.release()
        self._rows[index] = row
        self._services.progress.add(row)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A run error, or a bug: either way no other item may begin.
            self._services.stop.request(error)

    async def _drain(self, feeding: asyncio.Task[None]) -> None:
        # The first cancel ends whatever waits; a request on the wire outlasts it, since its reply
        # is paid for. The second one is final.
        feeding.cancel()
        for _ in range(2):
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(set(self._tasks), timeout=self._services.grace_s)
