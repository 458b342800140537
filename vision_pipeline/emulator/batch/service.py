"""Batch jobs from order to end.

A job is worked on when somebody looks at it: as many of its lines are answered as are due by then.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from http import HTTPStatus
from random import Random
from typing import Any
from uuid import UUID

import orjson

from vision_pipeline.emulator.batch.files import Content, Draft, SampleType, StoredFile
from vision_pipeline.emulator.batch.forms import InlineLine, JobQuery, parse_order
from vision_pipeline.emulator.batch.jobs import BatchJob, Input
from vision_pipeline.emulator.batch.lines import LineService
from vision_pipeline.emulator.batch.state import BatchState, Submission
from vision_pipeline.emulator.batch.timeline import Timeline
from vision_pipeline.emulator.completions import Completions
from vision_pipeline.emulator.effects import Doom, Effect, Hide
from vision_pipeline.emulator.problems import RefusalError, detail_error

# Lines that are answered between two looks at what else the loop has to do.
_SLICE_LINES = 16
# How long an answer waits for lines that are due: less than clients wait for it.
_PATIENCE_S = 4.0
# What the answer to an order says, even where jobs do not wait: nothing is counted yet.
_AT_FIRST = {"status": "QUEUED", "total_requests": 0, "started_at": None, "completed_at": None}


class JobService:
    """All jobs of one emulator; not thread-safe, belongs to one event loop.

    Args:
        state: Files, counters and chance.
        completions: Who judges bodies and makes replies.
    """

    def __init__(self, state: BatchState, completions: Completions) -> None:
        self._state = state
        self._models = completions.models
        self._lines = LineService(state, completions)
        self._jobs: dict[str, BatchJob] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ids = self._first_ids()

    def reset(self) -> None:
        """Forget all jobs."""
        self.close()
        self._jobs.clear()
        self._ids = self._first_ids()

    def close(self) -> None:
        """Give up what is being worked on."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def create(self, raw: bytes, submission: Submission) -> dict[str, Any]:
        """Queue a job; its answer counts no requests yet.

        Raises:
            RefusalError: 422 for an order that cannot be, 404 for a file that is not there; or
                what its fault answers. No job was made.
        """
        now_s = self._state.now_s()
        order = parse_order(raw)
        self._check_model(order.model)
        files = [self._state.files.find(file_id, now_s) for file_id in order.input_files or ()]
        self._state.submit(submission, "job", raw)
        contents = [file.content for file in files] or [self._written(order.requests or ())]
        settings, effect = self._state.settings, submission.effect
        rng = Random(self._ids.getrandbits(128))
        job = BatchJob(
            job_id=str(UUID(int=self._ids.getrandbits(128), version=4)),
            order=order,
            input=Input(contents, rng),
            timeline=self._timeline(effect, order.timeout_hours, now_s),
            visible_s=now_s + (settings.batch_hidden_s if isinstance(effect, Hide) else 0.0),
            rng=rng,
            drafts=(self._state.files.draft(), self._state.files.draft()),
        )
        self._jobs[job.job_id] = job
        self._state.stats.jobs += 1
        return job.as_json(now_s, self._state.epoch_s) | _AT_FIRST

    async def show(self, job_id: str, *, inline: bool = False) -> dict[str, Any]:
        """One job, with the rows of its results if asked for and if it has ended.

        Raises:
            RefusalError: 404; there is none, or not yet.
        """
        job = self._find(job_id)
        now_s = await self._catch_up([job])
        outputs = job.outputs() if inline and job.has_ended(now_s) else None
        return job.as_json(now_s, self._state.epoch_s, outputs=outputs)

    async def list(self, query: JobQuery) -> dict[str, Any]:
        """A page of the jobs that fit."""
        jobs = [job for job in self._jobs.values() if self._fits(job, query)]
        if query.order_by == "-created":
            jobs.reverse()
        now_s = await self._catch_up(jobs)
        jobs = [job for job in jobs if query.status is None or job.status(now_s) in query.status]
        first = query.page * query.page_size
        page = jobs[first : first + query.page_size]
        return {
            "data": [job.as_json(now_s, self._state.epoch_s) for job in page],
            "object": "list",
            "total": len(jobs),
        }

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Ask a job to end.

        Raises:
            RefusalError: 404; there is none, or not yet.
        """
        job = self._find(job_id)
        now_s = await self._catch_up([job])
        if not job.has_ended(now_s):
            job.cancel(now_s, takes_s=self._state.settings.batch_cancel_s)
        return await self.show(job_id)

    def delete(self, job_id: str) -> dict[str, Any]:
        """Forget a job, whatever it is at; its files stay.

        Raises:
            RefusalError: 404; there is none, or not yet.
        """
        self._find(job_id)
        del self._jobs[job_id]
        if task := self._tasks.pop(job_id, None):
            task.cancel()
        return {"id": job_id, "object": "batch", "deleted": True}

    async def _catch_up(self, jobs: Sequence[BatchJob]) -> float:
        """Answer what is due; gives the moment by which that is judged."""
        now_s = self._state.now_s()
        for job in jobs:
            job.keep_up(now_s)
            if job.is_behind and job.job_id not in self._tasks:
                self._tasks[job.job_id] = asyncio.create_task(self._work(job))
        tasks = [self._tasks[job.job_id] for job in jobs if job.job_id in self._tasks]
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=_PATIENCE_S)
            for task in done:
                if not task.cancelled():
                    task.result()
        for job in jobs:
            if job.has_ended(now_s):
                self._publish(job)
        return now_s

    async def _work(self, job: BatchJob) -> None:
        try:
            while job.is_behind:
                end = min(job.done + _SLICE_LINES, job.due)
                lines = list(job.input.lines(job.done, end))
                answers = (self._lines.answer(line, job.order.model) for line in lines)
                job.write(await asyncio.gather(*answers))
        except FileNotFoundError:
            job.fail("An input file was deleted", self._state.now_s())  # inferred
        finally:
            self._tasks.pop(job.job_id, None)

    def _publish(self, job: BatchJob) -> None:
        results, errors = job.drafts
        if job.succeeded and job.output_file is None:
            job.output_file = self._stored(job, results, "batch_result")
        if job.failures and job.error_file is None:
            job.error_file = self._stored(job, errors, "batch_error")

    def _stored(self, job: BatchJob, draft: Draft, sample_type: SampleType) -> StoredFile:
        file = StoredFile(
            file_id=self._state.files.new_id(),
            name=f"{job.job_id}-{sample_type}.jsonl",
            content=draft.content(),
            sample_type=sample_type,
            created_at_s=int(self._state.epoch_s + job.timeline.end_s),
        )
        self._state.files.add(file)
        return file

    def _find(self, job_id: str) -> BatchJob:
        job = self._jobs.get(job_id)
        if job is None or self._state.now_s() < job.visible_s:
            # The status was seen, the words are inferred.
            raise detail_error(HTTPStatus.NOT_FOUND, f"Batch job {job_id} not found")
        return job

    def _fits(self, job: BatchJob, query: JobQuery) -> bool:
        created_at_s = self._state.epoch_s + job.timeline.created_s
        metadata = job.order.metadata or {}
        return (
            query.agent_id is None
            and query.model in (None, job.order.model)
            and query.metadata.items() <= metadata.items()
            and (query.created_after is None or query.created_after.timestamp() < created_at_s)
        )

    def _check_model(self, name: str) -> None:
        try:
            self._models.ask(name, has_images=False)
        except RefusalError as error:
            # The status was seen, the words are inferred.
            raise detail_error(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"Model {name} is not accessible"
            ) from error

    def _written(self, requests: Sequence[InlineLine]) -> Content:
        draft = self._state.files.draft()
        draft.extend(orjson.dumps(request.model_dump()) + b"\n" for request in requests)
        return draft.content()

    def _timeline(self, effect: Effect | None, timeout_hours: int, now_s: float) -> Timeline:
        settings = self._state.settings
        fate = effect.fate if isinstance(effect, Doom) else None
        return Timeline(
            created_s=now_s,
            start_s=math.inf if fate == "wait" else now_s + settings.batch_queue_s,
            run_s=0.0 if fate == "fail" else settings.batch_run_s,
            deadline_s=now_s + timeout_hours * settings.batch_hour_s,
            fails=fate == "fail",
        )

    def _first_ids(self) -> Random:
        return Random(f"{self._state.seed}:jobs")
