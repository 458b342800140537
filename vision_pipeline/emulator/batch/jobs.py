"""A batch job: its order, how far it is, and what its answers have come to."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Any
from uuid import UUID

import orjson

from vision_pipeline.emulator.batch.files import Content, Draft, StoredFile
from vision_pipeline.emulator.batch.forms import JobOrder
from vision_pipeline.emulator.batch.timeline import Status, Timeline


@dataclass(frozen=True, slots=True)
class Line:
    """A request out of the input of a job; numbers count from 0 over all of its files."""

    number: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class LineResult:
    """What a line came to.

    Attributes:
        line: The request.
        custom_id: As given, or None.
        status: HTTP status.
        body: The JSON of a chat completion, or the body of an error.
    """

    line: Line
    custom_id: str | None
    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether it goes into the output file."""
        return self.status == HTTPStatus.OK


class Input:
    """All lines of a job, in an order that the seed has shuffled: that of the results."""

    def __init__(self, contents: Sequence[Content], rng: Random) -> None:
        self._contents = contents
        self._order = array("Q", range(sum(len(content.starts) for content in contents)))
        rng.shuffle(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def lines(self, first: int, end: int) -> Iterator[Line]:
        """The lines at those places of the order.

        Raises:
            FileNotFoundError: The file was deleted.
        """
        for number in self._order[first:end]:
            place = number
            for content in self._contents:
                if place < len(content.starts):
                    yield Line(number, content.line(place))
                    break
                place -= len(content.starts)


@dataclass(slots=True)
class BatchJob:
    """One job.

    Attributes:
        job_id: A UUID.
        order: What was asked for.
        input: Its lines.
        timeline: Its moments.
        visible_s: From when on it is found by its id.
        rng: What the ids of its results are drawn from.
        drafts: Results and failed lines, as long as they are written.
        succeeded: Lines answered with status 200.
        failures: Other lines, by status.
        due: How many lines are to be answered by now.
        most_due: How many there will be; fewer than all if it is cancelled while it is behind.
        output_file: There from the end on, if a line has succeeded.
        error_file: There from the end on, if a line has failed.
        complaint: Why it has failed as a whole, if that is known.
    """

    job_id: str
    order: JobOrder
    input: Input
    timeline: Timeline
    visible_s: float
    rng: Random
    drafts: tuple[Draft, Draft]
    succeeded: int = 0
    failures: Counter[int] = field(default_factory=Counter)
    due: int = 0
    most_due: int = sys.maxsize
    output_file: StoredFile | None = None
    error_file: StoredFile | None = None
    complaint: str | None = None

    @property
    def failed(self) -> int:
        """Lines answered with another status than 200."""
        return self.failures.total()

    @property
    def done(self) -> int:
        """Lines answered."""
        return self.succeeded + self.failed

    @property
    def is_behind(self) -> bool:
        """Whether lines are due that are not answered."""
        return self.done < self.due

    def status(self, now_s: float) -> Status:
        """What it is; it does not end before its lines are answered."""
        if self.is_behind and now_s >= self.timeline.end_s:
            return "CANCELLATION_REQUESTED" if self.timeline.is_asked_to_end else "RUNNING"
        return self.timeline.status(now_s)

    def has_ended(self, now_s: float) -> bool:
        """Whether nothing more becomes of it."""
        return now_s >= self.timeline.end_s and not self.is_behind

    def keep_up(self, now_s: float) -> None:
        """Let those lines be due that are by now."""
        self.due = min(self.timeline.due_lines(len(self.input), now_s), self.most_due)

    def cancel(self, now_s: float, *, takes_s: float) -> None:
        """Ask it to end; if it is behind, with the lines that it has."""
        if self.is_behind:
            self.most_due = self.done
        self.timeline.cancel(now_s, takes_s=takes_s, is_overdue=self.is_behind)

    def fail(self, complaint: str, now_s: float) -> None:
        """Let it fail as a whole, with the lines that it has."""
        self.complaint = complaint
        self.timeline.fail(now_s)
        self.keep_up(now_s)

    def write(self, results: Sequence[LineResult]) -> None:
        """Take in what lines came to."""
        served = [result for result in results if result.is_success]
        others = [result for result in results if not result.is_success]
        for draft, group in zip(self.drafts, (served, others), strict=True):
            if group:
                draft.extend(orjson.dumps(self._row(result)) + b"\n" for result in group)
        self.succeeded += len(served)
        self.failures.update(result.status for result in others)

    def outputs(self) -> list[dict[str, Any]]:
        """All rows of both files, as `inline=true` gives them; that both are there is inferred."""
        files = [file for file in (self.output_file, self.error_file) if file is not None]
        return [orjson.loads(row) for file in files for row in file.content.rows()]

    def as_json(
        self, now_s: float, epoch_s: float, *, outputs: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """The job as the API shows it."""
        status, timeline = self.status(now_s), self.timeline
        has_started = timeline.start_s <= min(now_s, timeline.end_s)
        return {
            "id": self.job_id,
            "object": "batch",
            "input_files": self.order.input_files or [],
            "metadata": self.order.metadata,
            "endpoint": self.order.endpoint,
            "model": self.order.model,
            "agent_id": None,
            "output_file": self.output_file and self.output_file.file_id,
            "error_file": self.error_file and self.error_file.file_id,
            "errors": self._errors(status),
            "outputs": outputs,
            "status": status,
            "created_at": int(epoch_s + timeline.created_s),
            "total_requests": len(self.input),
            "completed_requests": self.done,
            "succeeded_requests": self.succeeded,
            "failed_requests": self.failed,
            "started_at": int(epoch_s + timeline.start_s) if has_started else None,
            "completed_at": int(epoch_s + timeline.end_s) if self.has_ended(now_s) else None,
        }

    def _errors(self, status: Status) -> list[dict[str, Any]]:
        if status == "FAILED":
            return [{"message": self.complaint or "Batch job failed", "count": 1}]  # inferred
        return [
            {"message": f"HTTP Error, status code: {code}", "count": count}
            for code, count in sorted(self.failures.items())
        ]

    def _row(self, result: LineResult) -> dict[str, Any]:
        # The body of an error came as a string with JSON in it, not as an object.
        body = orjson.Fragment(result.body) if result.is_success else result.body.decode()
        drawn = UUID(int=self.rng.getrandbits(128), version=4)
        return {
            "id": f"batch-{self.job_id[:8]}-{result.line.number}-{drawn}",
            "custom_id": result.custom_id,
            "response": {"status_code": result.status, "body": body},
            "error": None,
        }
