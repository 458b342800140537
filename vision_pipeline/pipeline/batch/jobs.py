"""The jobs of a run: handed over, waited for and collected, each step noted before and after."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from vision_pipeline.core.batch import Job, JobState, Result
from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.errors import EndpointError, WaitingError, jobs_told
from vision_pipeline.core.protocol import BrokenReplyError, read_reply
from vision_pipeline.core.records import ReceivedReply
from vision_pipeline.pipeline.ask import stored_reply
from vision_pipeline.pipeline.batch.answers import is_usable
from vision_pipeline.pipeline.batch_services import BatchServices, InputFile
from vision_pipeline.pipeline.services import Services

MARK = "vision_pipeline"  # the key of a job's metadata that has its name
LISTED_AFTER_S = 60.0  # a job that was just made may not be found for some seconds
FIRST_LOOK_S = 1.0
MAX_TOLD = 2000  # characters of a failure that are kept
_AT_ONCE = 128  # replies that are stored together
_OK = 200

log = logging.getLogger(__name__)


class Jobs:
    """The parts of one run and what is done with them.

    Args:
        services: Of the run.
        batch: The provider's side, and the journal.
        run_id: The run.
        settle: Hears of a collected part what it can have cost at most, and what it did cost.
    """

    def __init__(
        self,
        services: Services,
        batch: BatchServices,
        run_id: str,
        *,
        settle: Callable[[Part, float, int], None],
    ) -> None:
        self._services, self._batch, self._run_id = services, batch, run_id
        self._settle = settle
        self._parts = {part.number: part for part in batch.journal.parts(run_id)}
        self._done = 0  # requests of the jobs under way

    @property
    def parts(self) -> list[Part]:
        """All of them, in order."""
        return [self._parts[number] for number in sorted(self._parts)]

    @property
    def round(self) -> int:
        """The latest round; 0 before the first."""
        return max((part.round for part in self.parts), default=0)

    @property
    def open(self) -> list[Part]:
        """Those of which answers may still come."""
        return [part for part in self.parts if part.is_open]

    def tries(self) -> Mapping[str, int]:
        """How many parts hold each request, by idempotency key."""
        counts: dict[str, int] = {}
        for key in chain.from_iterable(part.payers for part in self.parts):
            counts[key] = counts.get(key, 0) + 1
        return counts

    def failures(self) -> dict[str, tuple[int, str]]:
        """Status and body of requests that failed, by idempotency key; the latest counts."""
        return {key: told for part in self.parts for key, told in part.failures.items()}

    async def take_up(self) -> None:
        """Bring parts that a process has left half handed over to where they are jobs.

        What reached the provider is found there by its name; what did not is forgotten, and noted
        anew.
        """
        for part in self.open:
            if part.state == "prepared" and not part.is_inline:
                await self._make_if_uploaded(part)
            elif part.state != "submitted":
                await self._find_or_make(part)

    async def hand_over(self, file: InputFile, draft: Part) -> None:
        """Give a file of requests to the provider, and have it worked on.

        Args:
            file: Its lines.
            draft: The part, but for its number and name.
        """
        api, batch = self._batch.api, self._batch
        number = max(self._parts, default=0) + 1
        name = f"{self._run_id}-{number:04}-{secrets.token_hex(4)}.jsonl"
        most = batch.settings.max_inline_requests
        inline = api.inline and draft.requests <= most
        part = replace(draft, number=number, name=name, is_inline=inline)
        await self._note(part)
        file.flush()
        if inline:
            job = await api.create_inline(file.lines(), **self._making(part))
        else:
            part = replace(part, state="uploaded", file_id=await api.upload(file.path, name))
            await self._note(part)
            job = await api.create(file_id=part.file_id, **self._making(part))
        await self._submitted(part, job)

    async def wait(self) -> None:
        """Collect each job when it has ended, until there is none left.

        Raises:
            WaitingError: Some are still under way, and this process waits no longer.
            RunError: The run is asked to stop, the provider refuses, or a job came to nothing.
        """
        batch, stop = self._batch, self._services.stop
        until_s, pause_s = batch.now_s() + batch.patience_s, FIRST_LOOK_S
        while True:
            await self._look()
            if not self.open:
                return
            left_s = until_s - batch.now_s()
            if left_s <= 0:
                raise WaitingError(self._run_id, **self._counts())
            await batch.pause(stop.requested, min(pause_s, batch.settings.poll_s, left_s))
            pause_s *= 2
            if stop.cause is not None:
                raise stop.cause

    async def cancel(self) -> None:
        """Have the provider end all jobs; what they have answered by then is collected."""
        for part in self.open:
            await self._batch.api.cancel(part.job_id)
        await self.wait()

    async def _look(self) -> None:
        """See how the jobs stand, and collect those that have ended."""
        self._done = 0
        for part in self.open:
            job = await self._batch.api.job(part.job_id)
            if job.state.is_final:
                await self._collect(part, job)
            else:
                self._done += job.completed
        self._services.progress.activity.elsewhere = jobs_told(self._counts()) if self.open else ""

    def _counts(self) -> dict[str, int]:
        requests = sum(part.requests for part in self.open)
        return {"jobs": len(self.open), "requests": requests, "completed": self._done}

    async def _make_if_uploaded(self, part: Part) -> None:
        file_id = await self._batch.api.find_file(part.name)
        if file_id is None:
            await self._drop(part)
            return
        part = replace(part, state="uploaded", file_id=file_id)
        await self._note(part)
        await self._submitted(
            part, await self._batch.api.create(file_id=file_id, **self._making(part))
        )

    async def _find_or_make(self, part: Part) -> None:
        """The job of a part that may have one already, though it is not found at once."""
        api, batch, stop = self._batch.api, self._batch, self._services.stop
        mark = {MARK: part.name}
        while (job := await api.find_job(mark)) is None:
            left_s = part.at_s + LISTED_AFTER_S - batch.now_s()
            if left_s <= 0:
                break
            await batch.pause(stop.requested, min(left_s, 5.0))
            if stop.cause is not None:
                raise stop.cause
        if job is None and part.is_inline:
            await self._drop(part)
            return
        if job is None:
            job = await api.create(file_id=part.file_id, **self._making(part))
        await self._submitted(part, job)

    def _making(self, part: Part) -> dict[str, Any]:
        return {"metadata": {MARK: part.name}, "timeout_h": self._batch.settings.timeout_h}

    async def _submitted(self, part: Part, job: Job) -> None:
        await self._note(replace(part, state="submitted", job_id=job.id))
        ids = {"run_id": self._run_id, "job_id": job.id, "requests": part.requests}
        log.info("batch job %(job_id)s: %(requests)d requests handed over", ids, extra=ids)

    async def _note(self, part: Part) -> None:
        part = replace(part, at_s=self._batch.now_s())
        await asyncio.to_thread(self._batch.journal.write, self._run_id, part)
        self._parts[part.number] = part

    async def _drop(self, part: Part) -> None:
        # Not whole any more: its requests are to be noted anew.
        await asyncio.to_thread(self._batch.journal.mark_whole, self._run_id, whole=False)
        await asyncio.to_thread(self._batch.journal.drop, self._run_id, part)
        del self._parts[part.number]
        self._settle(part, 0.0, 0)

    async def _collect(self, part: Part, job: Job) -> None:
        """Store all that a job has brought, and only then note that it has ended."""
        found = _Found(self._services, part, job, self._run_id)
        waiting: list[Result] = []
        with self._services.progress.activity.stores():
            async for result in self._batch.api.results(job):
                waiting.append(result)
                if len(waiting) == _AT_ONCE:
                    await found.take(waiting)
                    waiting.clear()
            await found.take(waiting)
        if job.state is JobState.FAILED and not found.answered and not found.failures:
            await self._drop(part)
            raise EndpointError(
                f"the batch job {job.id} failed as a whole: {job.cause or 'no cause is told'}; "
                "the same command submits its requests again"
            )
        failures = {key: told for key, told in found.failures.items() if key not in found.answered}
        await self._note(
            replace(
                part,
                state="collected",
                outcome=job.state.value,
                answered=len(found.answered),
                unusable=found.unusable,
                failures=failures,
            )
        )
        self._settle(part, found.cost_usd, found.tokens)
        ids = {"run_id": self._run_id, "job_id": job.id, "answered": len(found.answered)}
        ids |= {"requests": part.requests, "outcome": job.state.value}
        told = "batch job %(job_id)s: %(outcome)s, %(answered)d of %(requests)d requests answered"
        log.info(told, ids, extra=ids)
        if not self._batch.settings.keep_files:
            for file_id in filter(None, (part.file_id, *job.result_files)):
                await self._batch.api.delete_file(file_id)


class _Found:
    """What a job has brought."""

    def __init__(self, services: Services, part: Part, job: Job, run_id: str) -> None:
        self.answered: set[str] = set()
        self.failures: dict[str, tuple[int, str]] = {}
        self.unusable = self.tokens = 0
        self.cost_usd = 0.0
        self._services, self._part, self._run_id = services, part, run_id
        ended_at = job.ended_at or datetime.now(UTC)
        begun_at = job.created_at or ended_at
        self._ended_at = ended_at
        self._took_s = max(0.0, (ended_at - begun_at).total_seconds())

    async def take(self, results: list[Result]) -> None:
        """Keep some of it; it is in the ledger when this returns."""
        await asyncio.gather(*(self._keep(*each) for each in self._replies(results)))

    def _replies(self, results: list[Result]) -> Iterator[tuple[str, bytes]]:
        for result in results:
            key = result.custom_id
            if key not in self._part.payers or key in self.answered:
                continue
            if result.status != _OK:
                told = result.body[: 4 * MAX_TOLD].decode(errors="replace")[:MAX_TOLD]
                self.failures[key] = (result.status, told)
                continue
            try:
                reply = read_reply(result.body)
            except BrokenReplyError as error:
                self.failures[key] = (502, str(error)[:MAX_TOLD])
                continue
            self.answered.add(key)
            self.tokens += reply.prompt_tokens + reply.completion_tokens
            self.unusable += not is_usable(reply, self._services.question.template.schema)
            yield key, result.body

    async def _keep(self, key: str, body: bytes) -> None:
        ledger = self._services.ledger
        payer = f"{self._run_id}/{self._part.payers[key]}"
        received = ReceivedReply(
            body=body,
            attempts=1,
            queued_s=self._took_s,
            latency_s=0.0,
            answered_at=self._ended_at,
            mode="batch",
        )
        stored = stored_reply(received, payer, price=self._services.price)
        self.cost_usd += stored.cost_usd or 0.0
        known = await ledger.recall(key)
        if known is not None and known.paid_by == payer and known.received.body == body:
            return  # by a process that was killed while it collected
        await ledger.remember(key, stored, run_id=self._run_id)
        self._services.progress.calls += 1
