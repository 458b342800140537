"""Batches of requests that a provider answers within a day, in neither form of the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import orjson

from vision_pipeline.core.protocol import load_json

ENDPOINT = "/v1/chat/completions"
MAX_RESULT_BYTES = 8 * 1024 * 1024  # of one line; the longest answers have a tenth of it
# A line that no server answered: not run, expired or cancelled. The item may be asked again.
NOT_RUN = 503
_MARK_BYTES = 4096
# A line whose reply is not used.
OVERLONG = 0

Document = Mapping[str, Any]


class JobState(StrEnum):
    """How far a job is.

    `SUCCESS` says that all lines were worked on, not that all have an answer. Every final state
    may come with results: a job that was cancelled or ran out of time has those until then.
    """

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCESS = "success"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come of it."""
        return self not in _GOING_ON


_GOING_ON = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING})


@dataclass(frozen=True, slots=True)
class Job:
    """A batch job as the provider tells of it.

    Attributes:
        id: The provider's.
        state: How far it is.
        total: Lines; 0 as long as the provider has not counted them.
        completed: Lines that succeeded or failed.
        failed: Lines that failed.
        result_files: Ids of the files of answers and of errors, as far as there are any.
        cause: What went wrong with how many lines, or with all, in the provider's words.
        metadata: As given when it was made.
        is_queue_full: It failed because too many requests were waiting; later it may pass.
        created_at: UTC.
        ended_at: UTC.
    """

    id: str
    state: JobState
    total: int = 0
    completed: int = 0
    failed: int = 0
    result_files: tuple[str, ...] = ()
    cause: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_queue_full: bool = False
    created_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state.is_final


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one line.

    Attributes:
        custom_id: As the line was marked.
        status: HTTP status of the request that the provider made of it; `NOT_RUN` if it made
            none, `OVERLONG` if the reply was too long to be used.
        body: Of its response, JSON as far as the provider's is.
    """

    custom_id: str
    status: int
    body: bytes = field(repr=False)


class BatchForm(Protocol):
    """How a provider speaks of files and jobs.

    Attributes:
        name: The provider's.
        jobs_path: Where its jobs are, below the endpoint.
        has_inline: Whether a job may carry its requests itself.
        max_file_bytes: Of an input file.
        max_requests: In a job.
        max_inline_requests: In a job that carries them; 0 without such jobs.
    """

    name: str
    jobs_path: str
    has_inline: bool
    max_file_bytes: int
    max_requests: int
    max_inline_requests: int

    def input_line(self, custom_id: str, body: bytes) -> bytes:
        """A line of an input file, its end included; `body` is JSON without line breaks."""

    def creation(
        self, *, file_id: str, model: str, metadata: Mapping[str, str], timeout_h: int
    ) -> bytes:
        """The order of a job over an uploaded file, JSON."""

    def inline_creation(
        self, lines: Sequence[bytes], *, model: str, metadata: Mapping[str, str], timeout_h: int
    ) -> bytes:
        """The order of a job that carries its lines, JSON."""

    def read_job(self, document: Any) -> Job:  # noqa: ANN401  (any JSON)
        """A job out of an answer.

        Raises:
            BrokenReplyError: It is none.
        """

    def files_query(self, name: str) -> Mapping[str, str]:
        """The first page of the files among which one of that name is, newest first."""

    def jobs_query(self, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """The first page of the jobs among which one with that metadata is, newest first."""

    def next_page(self, query: Mapping[str, str], page: Document) -> Mapping[str, str] | None:
        """The query of the page after one with at least one row; None after the last."""


def read_result(line: bytes) -> Result | None:
    """A line of a result file; None for one that is cut, or marked by nobody. Never fails."""
    try:
        return read_row(load_json(line))
    except (ValueError, RecursionError):
        return None


def read_row(row: object) -> Result | None:
    """The same from parsed JSON, as jobs carry their results; None if it is no result."""
    custom_id = row.get("custom_id") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(custom_id, str):
        return None
    response = row.get("response")
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        return Result(custom_id, response["status_code"], _bytes(response.get("body")))
    if row.get("error"):
        return Result(custom_id, NOT_RUN, _bytes({"error": row["error"]}))
    return None


def overlong_result(start: bytes, *, max_bytes: int = MAX_RESULT_BYTES) -> Result | None:
    """What stands for a line that is too long to be read.

    Args:
        start: Its beginning, in which its mark is looked for.
        max_bytes: The bound that it exceeds.
    """
    custom_id = mark_of(start)
    if not custom_id:
        return None
    told = {"message": f"the reply is larger than {max_bytes} bytes"}
    return Result(custom_id, OVERLONG, _bytes(told))


def mark_of(start: bytes) -> str:
    """The mark of a line of which only the beginning may be there; empty if it has none."""
    _, _, rest = start.partition(b'"custom_id":')
    try:
        custom_id, _ = json.JSONDecoder().raw_decode(
            rest[:_MARK_BYTES].decode("utf-8", "replace").lstrip()
        )
    except ValueError:
        return ""
    return custom_id if isinstance(custom_id, str) else ""


def _bytes(body: object) -> bytes:
    # Bodies of errors are JSON in a string, those of answers are JSON.
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        pass  # half a character, or nested deep
    try:
        return json.dumps(body).encode()
    except RecursionError:
        return b""  # no answer of a model; whoever reads it says so
