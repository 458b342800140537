"""Counters of files and batch jobs, as `GET /_emulator/stats` gives them under `batch`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(slots=True)
class BatchStats:
    """What happened to files and batch jobs since the start or the last reset.

    Attributes:
        uploads: Files taken in, those among them whose answer was lost.
        uploads_refused: Uploads that were not: invalid, too large, or met a fault.
        uploaded_bytes: Of the files taken in.
        jobs: Jobs made, those among them whose answer was lost.
        jobs_refused: Requests for a job that made none.
        polls: Answers and refusals to looking at a job, or at the list of jobs.
        cancels: Requests to cancel a job.
        downloads: Of the contents of files, by either address.
        lines_succeeded: Lines answered with status 200, spoiled ones among them.
        lines_failed: Lines answered with another status.
        prompt_tokens: Of all lines that succeeded.
        completion_tokens: Of all lines that succeeded.
        faults: Uploads, jobs, polls, lines and downloads by the kind of fault that they met.
    """

    uploads: int = 0
    uploads_refused: int = 0
    uploaded_bytes: int = 0
    jobs: int = 0
    jobs_refused: int = 0
    polls: int = 0
    cancels: int = 0
    downloads: int = 0
    lines_succeeded: int = 0
    lines_failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """The counters as a JSON object."""
        return asdict(replace(self, faults=Counter())) | {"faults": dict(self.faults)}
