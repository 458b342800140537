"""A provider's Batch API in memory, which can be made to fail at any step."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from tests.fakes import completion
from vision_pipeline.core.batch import Job, JobState, Result, read_result
from vision_pipeline.core.batch_forms import MISTRAL
from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.errors import GoneError, NoBatchApiError, QueueError

NOW = datetime(2026, 11, 22, tzinfo=UTC)

Answer = Callable[[dict[str, Any]], object]


class Killed(BaseException):
    """The process ends here."""


@dataclass
class _Made:
    metadata: Mapping[str, str]
    lines: list[bytes]
    looks: int = 0
    is_cancelled: bool = False


@dataclass
class BatchProvider:
    """What the provider has: it outlives the process that uses it.

    Attributes:
        answer: What a request's answer is: a message's content, a status and a body, or None for
            one that is left unanswered.
        looks: How often a job is looked at before it has ended.
        hidden: How often a job that was made is not found by its metadata.
        ends: In which state jobs end.
        kill_at: The step at which the process ends, such as `before upload` or `after create`, and
            how often that step goes well before.
        refuses_at: The step at which it turns out that the provider has no such thing.
        inline: Whether jobs carry requests.
        full_for: Jobs that fail since the queue is full, which only shows later.
        most_open: How many jobs may be under way; beyond that the queue is full.
    """

    answer: Answer = lambda request: "a cat"
    looks: int = 1
    hidden: int = 0
    ends: JobState = JobState.SUCCESS
    kill_at: tuple[str, int] | None = None
    refuses_at: str = ""
    inline: bool = False
    most_open: int = 1000
    full_for: set[str] = field(default_factory=set)
    files: dict[str, tuple[str, list[bytes]]] = field(default_factory=dict)
    jobs: dict[str, _Made] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    uploads: int = 0

    def handed_over(self) -> Counter[str]:
        """How often each request is in a job."""
        lines = [line for job in self.jobs.values() for line in job.lines]
        return Counter(orjson.loads(line)["custom_id"] for line in lines)

    def step(self, name: str) -> None:
        if name == self.refuses_at:
            raise NoBatchApiError("no Batch API here")
        if self.kill_at is None or self.kill_at[0] != name:
            return
        self.kill_at = (name, self.kill_at[1] - 1)
        if self.kill_at[1] < 0:
            self.kill_at = None
            raise Killed(name)

    def line(self, custom_id: str, body: bytes) -> bytes:
        return MISTRAL.input_line(custom_id, body)

    async def upload(self, file: Path, name: str) -> str:
        self.step("before upload")
        self.uploads += 1
        file_id = f"file-{self.uploads}"
        self.files[file_id] = name, _lines(file)
        self.step("after upload")
        return file_id

    async def find_file(self, name: str) -> str | None:
        return next((id_ for id_, (named, _) in self.files.items() if named == name), None)

    async def create(self, *, file_id: str, metadata: Mapping[str, str], timeout_h: int) -> Job:
        assert 1 <= timeout_h <= 168
        self.step("before create")
        return self._made(self.files[file_id][1], metadata)

    async def create_inline(
        self, lines: Sequence[bytes], *, metadata: Mapping[str, str], timeout_h: int
    ) -> Job:
        assert self.inline
        self.step("before create")
        return self._made(list(lines), metadata)

    def _made(self, lines: list[bytes], metadata: Mapping[str, str]) -> Job:
        if sum(not self._job(each).is_final for each in self.jobs) >= self.most_open:
            raise QueueError("too many requests are waiting")
        job_id = f"job-{len(self.jobs) + 1}"
        self.jobs[job_id] = _Made(metadata, lines)
        self.step("after create")
        return self._job(job_id)

    async def find_job(self, metadata: Mapping[str, str]) -> Job | None:
        if self.hidden:
            self.hidden -= 1
            return None
        found = (id_ for id_, made in self.jobs.items() if made.metadata == metadata)
        return next(map(self._job, found), None)

    async def job(self, job_id: str, *, is_new: bool = True) -> Job:
        if job_id not in self.jobs:
            raise GoneError(f"{job_id}: no such job")
        self.jobs[job_id].looks += 1
        self.step("look")
        return self._job(job_id)

    async def cancel(self, job_id: str, *, is_new: bool = True) -> Job:
        if job_id not in self.jobs:
            raise GoneError(f"{job_id}: no such job")
        self.jobs[job_id].is_cancelled = True
        return self._job(job_id)

    async def results(self, job: Job) -> AsyncGenerator[Result, None]:
        made = self.jobs[job.id]
        answers, failures = [], []
        for number, line in enumerate([] if job.id in self.full_for else made.lines):
            request = orjson.loads(line)
            if made.is_cancelled and number % 2:
                continue
            answer = self.answer(request["body"])
            if answer is None:
                continue
            status, body = answer if isinstance(answer, tuple) else (200, answer)
            if status == 200 and not isinstance(body, bytes):
                body = completion(body)
            document = orjson.loads(body) if status == 200 else body
            response = {"status_code": status, "body": document}
            row = {"custom_id": request["custom_id"], "response": response, "error": None}
            (answers if status == 200 else failures).append(orjson.dumps(row))
        for told in answers:
            self.step("during results")
            yield _read(told)
        self.step("between results")
        for told in failures:
            yield _read(told)

    async def delete_file(self, file_id: str) -> None:
        self.step("delete")
        self.deleted.append(file_id)

    def _job(self, job_id: str) -> Job:
        made = self.jobs[job_id]
        has_ended = made.looks > self.looks or made.is_cancelled
        state = self.ends if has_ended else JobState.RUNNING
        is_queue_full = job_id in self.full_for
        if is_queue_full:
            has_ended, state = True, JobState.FAILED
        if made.is_cancelled:
            state = JobState.CANCELLED
        return Job(
            job_id,
            state,
            total=len(made.lines),
            completed=len(made.lines) if has_ended else 0,
            result_files=(f"{job_id}-answers",) if has_ended else (),
            cause="it was refused" if state is JobState.FAILED else "",
            metadata=made.metadata,
            is_queue_full=is_queue_full,
            created_at=NOW,
            ended_at=NOW + timedelta(minutes=10) if has_ended else None,
        )


def _lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines()


def _read(line: bytes) -> Result:
    result = read_result(line)
    assert result is not None
    return result


class MemoryJournal:
    """Parts in memory; what is written is safe."""

    def __init__(self) -> None:
        self.noted: dict[str, dict[int, Part]] = {}
        self.whole: set[str] = set()
        self.states: list[str] = []

    def run_ids(self) -> list[str]:
        return sorted(self.noted)

    def parts(self, run_id: str) -> list[Part]:
        return [part for _, part in sorted(self.noted.get(run_id, {}).items())]

    def write(self, run_id: str, part: Part) -> None:
        self.noted.setdefault(run_id, {})[part.number] = replace(part)
        self.states.append(part.state)

    def drop(self, run_id: str, part: Part) -> None:
        del self.noted[run_id][part.number]

    def is_whole(self, run_id: str) -> bool:
        return run_id in self.whole

    def mark_whole(self, run_id: str, *, whole: bool) -> None:
        (self.whole.add if whole else self.whole.discard)(run_id)

    def forget(self, run_id: str) -> None:
        self.noted.pop(run_id, None)
        self.whole.discard(run_id)
