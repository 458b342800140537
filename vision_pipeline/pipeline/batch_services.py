"""What a run by batches needs of the outside world, by protocol."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Protocol

from vision_pipeline.core.batch import Job, Result
from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.config_batch import BatchConfig


class BatchApi(Protocol):
    """Files and jobs at the provider. All methods outlast what passes, and raise RunError."""

    @property
    def inline(self) -> bool:
        """Whether requests may go with the call that makes the job."""

    def line(self, custom_id: str, body: bytes) -> bytes:
        """A line of an input file."""

    async def upload(self, file: Path, name: str) -> str:
        """The id of the uploaded file."""

    async def find_file(self, name: str) -> str | None:
        """The id of the file of that name, or None."""

    async def create(self, *, file_id: str, metadata: Mapping[str, str], timeout_h: int) -> Job:
        """A new job for an uploaded file."""

    async def create_inline(
        self, lines: Sequence[bytes], *, metadata: Mapping[str, str], timeout_h: int
    ) -> Job:
        """A new job for these lines."""

    async def find_job(self, metadata: Mapping[str, str]) -> Job | None:
        """The job with that metadata, or None."""

    async def job(self, job_id: str, *, is_new: bool = True) -> Job:
        """How it stands; waits for a new one that is not found yet, and raises GoneError."""

    async def cancel(self, job_id: str, *, is_new: bool = True) -> Job:
        """Ask for its end; likewise."""

    def results(self, job: Job) -> AsyncGenerator[Result, None]:
        """What became of each line, in any order."""

    async def delete_file(self, file_id: str) -> None:
        """Delete a file; it may be gone already."""


class Journal(Protocol):
    """Keeps the parts of runs."""

    def run_ids(self) -> list[str]:
        """All runs that are noted."""

    def parts(self, run_id: str) -> list[Part]:
        """Those of a run, in order; raises RunError where one is damaged."""

    def write(self, run_id: str, part: Part) -> None:
        """Write or replace one; it is safe when this returns."""

    def drop(self, run_id: str, part: Part) -> None:
        """Forget one that never reached the provider."""

    def is_whole(self, run_id: str) -> bool:
        """Whether all that is to be asked is in parts."""

    def mark_whole(self, run_id: str, *, whole: bool) -> None:
        """Note whether all that is to be asked is in parts."""

    def forget(self, run_id: str) -> None:
        """Forget a run that is finished."""


class InputFile(Protocol):
    """A file of lines on this machine."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    def add(self, line: bytes) -> None:
        """Add a line."""

    def lines(self) -> list[bytes]:
        """All of them."""

    def flush(self) -> None:
        """Make all of it readable at its path."""

    def close(self) -> None:
        """Delete it."""


async def pause(stopped: asyncio.Event, seconds: float) -> None:
    """Wait, unless the run is asked to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stopped.wait(), seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchServices:
    """What a run by batches uses beside the services of every run.

    Attributes:
        new_file: Makes an empty file of lines.
        is_mortal: Whether the provider ends with this process, and its jobs with it.
        patience_s: How long jobs are waited for in this process.
        pause: Waits for so many seconds, or until the event is set.
        now_s: Seconds since 1970.
    """

    api: BatchApi
    journal: Journal
    settings: BatchConfig
    new_file: Callable[[], InputFile]
    is_mortal: bool = False
    patience_s: float = math.inf
    pause: Callable[[asyncio.Event, float], Awaitable[None]] = pause
    now_s: Callable[[], float] = time
