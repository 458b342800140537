"""What a run would ask, noted in files for the Batch API instead of being asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container
from contextlib import suppress

from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.errors import BudgetError, ItemError
from vision_pipeline.core.records import Amount, Item, VisionRequest
from vision_pipeline.pipeline.batch.askers import Noted, NotingAsker
from vision_pipeline.pipeline.batch.jobs import Jobs
from vision_pipeline.pipeline.batch_services import BatchServices, InputFile
from vision_pipeline.pipeline.budget import Budget, unlimited
from vision_pipeline.pipeline.item import Work, answer_for
from vision_pipeline.pipeline.plan import Run
from vision_pipeline.pipeline.services import Services
from vision_pipeline.pipeline.shard import to_item


class Noter:
    """Takes requests, and hands them over in parts, each as soon as it is full.

    Args:
        services: Of the run.
        batch: Where a file of lines comes from, and how large it may be.
        jobs: Takes the parts.
        budget: What may be spent; the most that a request can cost is set aside for it.
        known: Idempotency keys that need no note: they are on their way, or tried often enough.
        round_: Of the parts.

    Attributes:
        noted: How many requests were taken.
        exhausted: Why no more are taken, where the budget is used up.
    """

    def __init__(  # noqa: PLR0913  (each of them is something else)
        self,
        services: Services,
        batch: BatchServices,
        *,
        jobs: Jobs,
        budget: Budget,
        known: Container[str],
        round_: int,
    ) -> None:
        self.noted = 0
        self.exhausted: BudgetError | None = None
        self._services, self._batch, self._jobs = services, batch, jobs
        self._budget, self._known = budget, known
        self._round = round_
        self._is_broken = False
        self._one_at_a_time = asyncio.Lock()
        self._file: InputFile | None = None
        self._given: set[str] = set()  # in this round, by whichever part
        self._payers: dict[str, str] = {}
        self._worst = Amount()

    async def note(self, request: VisionRequest, payer: str) -> None:
        """Take a request, unless it is known or the budget is used up."""
        key = request.idempotency_key
        async with self._one_at_a_time:
            is_over = self._is_broken or self.exhausted is not None
            if is_over or key in self._known or key in self._given:
                return
            try:
                reserved = await self._budget.take(request)
            except BudgetError as error:
                self.exhausted = error
                return
            line = self._batch.api.line(key, self._services.body_format.body(request))
            if self._file is not None and self._is_full(self._file, line):
                await self._hand_over(self._file)
            if self._file is None:
                self._file = self._batch.new_file()
            self._file.add(line)
            self._given.add(key)
            self._payers[key] = payer.partition("/")[2]
            self._worst += reserved.amount
            self.noted += 1

    async def finish(self) -> None:
        """Hand over what is left."""
        async with self._one_at_a_time:
            if self._file is not None:
                await self._hand_over(self._file)

    def close(self) -> None:
        """Drop what was not handed over."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _is_full(self, file: InputFile, line: bytes) -> bool:
        settings = self._batch.settings
        is_large = file.size_bytes + len(line) > settings.max_file_bytes
        return is_large or len(self._payers) >= settings.max_requests

    async def _hand_over(self, file: InputFile) -> None:
        part = Part(
            number=0,  # it gets number and name where it is handed over
            round=self._round,
            name="",
            requests=len(self._payers),
            payers=self._payers,
            worst=self._worst,
        )
        self._is_broken = True  # what failed half way is not tried again by whoever comes next
        await self._jobs.hand_over(file, part)
        self._is_broken = False
        self._payers, self._worst = {}, Amount()
        self.close()


async def note_all(services: Services, run: Run, noter: Noter) -> None:
    """Go through the items of a run that have no row yet, and hand over what they ask.

    Raises:
        RunError: Why it stopped early; what was handed over by then is noted in the journal.
    """
    asker = NotingAsker(services, run.run_id, unlimited(), note=noter.note)
    activity, stop = services.progress.activity, services.stop
    tasks: set[asyncio.Task[None]] = set()

    async def one(item: Item) -> None:
        try:
            # An item without an image that can be sent has its row in the end, not here.
            with suppress(Noted, ItemError):
                await answer_for(asker, Work(item))
        finally:
            services.slots.release()
        activity.elsewhere = f"{noter.noted:,} requests noted for batch jobs"

    def ended(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            stop.request(error)

    async for item in _items(services, run):
        await services.slots.acquire()
        if stop.cause is not None or noter.exhausted is not None:
            services.slots.release()
            break
        task = asyncio.create_task(one(item))
        tasks.add(task)
        task.add_done_callback(ended)
    while tasks:
        await asyncio.wait(tasks)
    if stop.cause is not None:
        raise stop.cause
    await noter.finish()
    activity.elsewhere = ""


async def _items(services: Services, run: Run) -> AsyncIterator[Item]:
    for shard in run.pending:
        table = await asyncio.to_thread(services.results.shard_items, run.run_id, shard)
        for record in table.to_pylist():
            yield to_item(record)
