"""The jobs of a run: handed over, waited for and collected, each step noted before and after."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

from vision_pipeline.core.activity import Stage
from vision_pipeline.core.batch import Job, JobState, Result
from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.errors import (
    EndpointError,
    GoneError,
    NoBatchApiError,
    QueueError,
    RefusedFileError,
    WaitingError,
    jobs_told,
)
from vision_pipeline.core.records import Amount
from vision_pipeline.pipeline.batch.calls import unless_stopped
from vision_pipeline.pipeline.batch.collecting import Found
from vision_pipeline.pipeline.batch_services import BatchServices, InputFile
from vision_pipeline.pipeline.services import Services

MARK = "vision_pipeline"  # the key of a job's metadata that has its name
LISTED_AFTER_S = 60.0  # a job that was just made may not be found for some seconds
FIRST_LOOK_S = 1.0
_AT_ONCE = 128  # replies that are stored together
_NOTHING_MADE = (GoneError, NoBatchApiError, RefusedFileError)

T = TypeVar("T")

log = logging.getLogger(__name__)


class Jobs:
    """The parts of one run and what is done with them.

    Args:
        services: Of the run.
        batch: The provider's side, and the journal.
        run_id: The run.
        settle: Hears of each part that is not open any more what it took.
    """

    def __init__(
        self,
        services: Services,
        batch: BatchServices,
        run_id: str,
        *,
        settle: Callable[[Part, Amount], None],
    ) -> None:
        self._services, self._batch, self._run_id = services, batch, run_id
        self._settle = settle
        self._parts = {part.number: part for part in batch.journal.parts(run_id)}
        self._until_s = batch.now_s() + batch.patience_s
        self._done = 0  # requests of the jobs under way

    @property
    def parts(self) -> list[Part]:
        """All of them, in order."""
        return [self._parts[number] for number in sorted(self._parts)]

    @property
    def open(self) -> list[Part]:
        """Those of which answers may still come."""
        return [part for part in self.parts if part.is_open]

    async def take_up(self) -> None:
        """Bring parts that a process has left half handed over to where they are jobs.

        What reached the provider is found there by its name; what did not is forgotten, and noted
        anew.
        """
        for part in self.open:
            if part.may_have_job:
                await self._find(part)
                continue
            file_id = await self._call(self._batch.api.find_file(part.name))
            if file_id is None:
                await self._drop(part)
            else:
                await self._make_of_file(replace(part, file_id=file_id))

    async def hand_over(self, file: InputFile, draft: Part) -> None:
        """Give a file of requests to the provider, and have it worked on.

        Args:
            file: Its lines.
            draft: The part, but for its number and name.
        """
        api, settings = self._batch.api, self._batch.settings
        number = max(self._parts, default=0) + 1
        name = f"{self._run_id}-{number:04}-{secrets.token_hex(4)}.jsonl"
        inline = api.inline and draft.requests <= settings.max_inline_requests
        part = await self._note(replace(draft, number=number, name=name, is_inline=inline))
        file.flush()
        if inline:
            lines = file.lines()
            await self._make(part, lambda: api.create_inline(lines, **self._making(part)))
            return
        try:
            file_id = await self._call(api.upload(file.path, name))
        except _NOTHING_MADE:
            await self._drop(part)
            raise
        await self._make_of_file(replace(part, file_id=file_id))

    async def wait(self) -> None:
        """Collect each job when it has ended, until there is none left.

        Raises:
            WaitingError: Some are still under way, and this process waits no longer.
            RunError: The run is asked to stop, the provider refuses, or a job came to nothing.
        """
        while await self._one_ends():
            pass

    async def cancel(self) -> int:
        """Have the provider end all jobs, and collect what they have answered by then.

        What the provider does not know is given up.

        Returns:
            How many jobs there were.
        """
        for part in self.open:
            try:
                if part.may_have_job:
                    await self._find(part, makes=False)
                else:
                    await self._drop(part)
            except _NOTHING_MADE:
                await self._drop(part)
        jobs = self._submitted()
        for part in jobs:
            try:
                await self._call(self._batch.api.cancel(part.job_id, is_new=self._is_new(part)))
            except _NOTHING_MADE:
                log.warning(
                    "batch job %s is unknown to the provider: what it was asked is given up, and "
                    "the next run asks it anew",
                    part.job_id,
                )
                await self._drop(part)
        ended = len(self._submitted())
        await self.wait()
        return ended

    async def _one_ends(self) -> bool:
        """Wait until there are fewer jobs under way; False where there are none."""
        batch, stop, activity = self._batch, self._services.stop, self._services.progress.activity
        submitted, pause_s = len(self._submitted()), FIRST_LOOK_S
        while True:
            await self._look()
            if len(self._submitted()) < submitted or not submitted:
                return bool(submitted)
            left_s = self._until_s - batch.now_s()
            if left_s <= 0:
                raise WaitingError(self._run_id, **self._counts())
            activity.hold(Stage.BATCH)
            await batch.pause(stop.requested, min(pause_s, batch.settings.poll_s, left_s))
            activity.hold(None)
            pause_s *= 2
            if stop.cause is not None:
                raise stop.cause

    def _submitted(self) -> list[Part]:
        return [part for part in self.parts if part.state == "submitted"]

    async def _look(self) -> None:
        """See how the jobs stand, and collect those that have ended."""
        self._done = 0
        for part in self._submitted():
            try:
                job = await self._call(self._batch.api.job(part.job_id, is_new=self._is_new(part)))
            except GoneError as error:
                if self._batch.is_mortal:
                    await self._drop(part)
                    continue
                raise GoneError(
                    f"{error}; `vision-pipeline batch cancel CONFIG` gives up what it was asked, "
                    "and the next run asks that anew"
                ) from error
            if job.is_final:
                await self._collect(part, job)
            else:
                self._done += job.completed
        self._services.progress.activity.elsewhere = jobs_told(self._counts()) if self.open else ""

    def _is_new(self, part: Part) -> bool:
        return self._batch.now_s() - part.at_s < LISTED_AFTER_S

    def _counts(self) -> dict[str, int]:
        requests = sum(part.requests for part in self.open)
        return {"jobs": len(self.open), "requests": requests, "completed": self._done}

    async def _find(self, part: Part, *, makes: bool = True) -> None:
        """The job of a part that may have one already, though it is not found at once."""
        batch, stop = self._batch, self._services.stop
        if part.state == "submitted":
            return
        while (job := await self._call(batch.api.find_job({MARK: part.name}))) is None:
            left_s = part.at_s + LISTED_AFTER_S - batch.now_s()
            if left_s <= 0:
                break
            await batch.pause(stop.requested, min(left_s, 5.0))
            if stop.cause is not None:
                raise stop.cause
        if job is not None:
            await self._made(part, job)
        elif part.is_inline or not makes:
            await self._drop(part)
        else:
            await self._make_of_file(part)

    async def _make_of_file(self, part: Part) -> None:
        api, part = self._batch.api, await self._note(replace(part, state="uploaded"))
        await self._make(part, lambda: api.create(file_id=part.file_id, **self._making(part)))

    async def _make(self, part: Part, make: Callable[[], Awaitable[Job]]) -> None:
        """Make a job; while the provider's queue is full, wait for one of this run to end."""
        while True:
            try:
                job = await self._call(make())
            except QueueError:
                is_patient = self._batch.now_s() < self._until_s
                if not (is_patient and await self._one_ends()):
                    raise
                part = await self._note(part)  # nothing was made by now
            except _NOTHING_MADE:
                await self._drop(part)
                raise
            else:
                await self._made(part, job)
                return

    def _making(self, part: Part) -> dict[str, Any]:
        return {"metadata": {MARK: part.name}, "timeout_h": self._batch.settings.timeout_h}

    async def _made(self, part: Part, job: Job) -> None:
        await self._note(replace(part, state="submitted", job_id=job.id))
        ids = {"run_id": self._run_id, "job_id": job.id, "requests": part.requests}
        log.info("batch job %(job_id)s: %(requests)d requests handed over", ids, extra=ids)

    async def _note(self, part: Part) -> Part:
        part = replace(part, at_s=self._batch.now_s())
        await asyncio.to_thread(self._batch.journal.write, self._run_id, part)
        self._parts[part.number] = part
        return part

    async def _drop(self, part: Part) -> None:
        # Not whole any more: its requests are to be noted anew.
        await asyncio.to_thread(self._batch.journal.mark_whole, self._run_id, whole=False)
        await asyncio.to_thread(self._batch.journal.drop, self._run_id, part)
        del self._parts[part.number]
        self._settle(part, Amount())

    async def _collect(self, part: Part, job: Job) -> None:
        """Store all that a job has brought, and only then note that it has ended."""
        found = Found(self._services, part, job, self._run_id)
        with self._services.progress.activity.stores():
            await self._call(self._take_all(job, found))
        if job.state is JobState.FAILED and not found.answered and not found.failures:
            await self._drop(part)
            if job.is_queue_full and self._submitted():
                return  # its requests are handed over anew once others have ended
            raise (QueueError if job.is_queue_full else EndpointError)(
                f"the batch job {job.id} failed as a whole: {job.cause or 'no cause is told'}; "
                "the same command submits its requests again"
            )
        await self._note(found.part)
        self._settle(part, found.taken)
        ids = {"run_id": self._run_id, "job_id": job.id, "answered": len(found.answered)}
        ids |= {"requests": part.requests, "outcome": job.state.value}
        told = "batch job %(job_id)s: %(outcome)s, %(answered)d of %(requests)d requests answered"
        log.info(told, ids, extra=ids)
        if not self._batch.settings.keep_files:
            for file_id in filter(None, (part.file_id, *job.result_files)):
                await self._call(self._batch.api.delete_file(file_id))

    async def _take_all(self, job: Job, found: Found) -> None:
        waiting: list[Result] = []
        async with aclosing(self._batch.api.results(job)) as results:
            async for result in results:
                waiting.append(result)
                if len(waiting) == _AT_ONCE:
                    await found.take(waiting)
                    waiting.clear()
        await found.take(waiting)

    async def _call(self, call: Awaitable[T]) -> T:
        return await unless_stopped(self._services, call)
