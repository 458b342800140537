"""A provider's Batch API: files up, jobs made and looked at, results down."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from vision_pipeline.adapters.batch_api.calls import Calls, no_sense
from vision_pipeline.adapters.batch_api.downloads import download_results
from vision_pipeline.adapters.batch_api.files import Files
from vision_pipeline.adapters.batch_api.listing import rows_of
from vision_pipeline.core.batch import BatchForm, Job, Result, read_row
from vision_pipeline.core.batch_refusals import Call, check_has_batches
from vision_pipeline.core.config import RetryConfig
from vision_pipeline.core.errors import (
    EndpointError,
    GoneError,
    RefusedFileError,
)
from vision_pipeline.core.limits import backoff_s
from vision_pipeline.core.protocol import BrokenReplyError
from vision_pipeline.transport.clock import SYSTEM_CLOCK, Clock
from vision_pipeline.transport.endpoint import Endpoint

NEW_JOB_S = 30.0  # a job may be not found for some seconds after it was made


class BatchApi:
    """A client that outlasts what passes, and makes nothing twice.

    Args:
        endpoint: Called before the first request and only then.
        form: How the provider speaks.
        model: That answers the jobs.
        retry: For how long what fails is tried, and how long one call may stand still.
        clock: How time passes.
        scratch: The folder on whose disk results stand until they are read; None for the system's.
    """

    def __init__(  # noqa: PLR0913  (each of them is something else)
        self,
        endpoint: Callable[[], Awaitable[Endpoint]],
        *,
        form: BatchForm,
        model: str,
        retry: RetryConfig,
        clock: Clock = SYSTEM_CLOCK,
        scratch: Path | None = None,
    ) -> None:
        self._calls = Calls(endpoint, check=check_has_batches, retry=retry, clock=clock)
        self._files = Files(self._calls, form)
        self._clock = clock
        self._form = form
        self._model = model
        self._scratch = scratch

    @property
    def inline(self) -> bool:
        """Whether a job may carry its requests itself."""
        return self._form.has_inline

    @property
    def form(self) -> BatchForm:
        """How the provider speaks, and what fits into a file and a job."""
        return self._form

    def line(self, custom_id: str, body: bytes) -> bytes:
        """A line of an input file, its end included; `body` is JSON without line breaks."""
        return self._form.input_line(custom_id, body)

    async def upload(self, file: Path, name: str) -> str:
        """Upload an input file, and give its id.

        Args:
            file: Read piece by piece as it goes out.
            name: Of no other file: after an answer that was lost it is looked for by this.

        Raises:
            RefusedFileError: The provider takes no such file; with the lines at fault.
            StorageError: The file cannot be read.
            RunError: The key is refused, or the server fails for too long.
        """
        return await self._files.upload(file, name)

    async def find_file(self, name: str) -> str | None:
        """The id of the newest uploaded file of exactly that name.

        Raises:
            RunError: The key is refused, or the server fails for too long.
        """
        return await self._files.find(name)

    async def delete_file(self, file_id: str) -> None:
        """Delete a file, which may be gone already.

        Raises:
            RunError: The key is refused, or the server fails for too long.
        """
        await self._files.delete(file_id)

    async def create(self, *, file_id: str, metadata: Mapping[str, str], timeout_h: int) -> Job:
        """Make a job over an uploaded file.

        Args:
            file_id: The provider's.
            metadata: Of no other job: after an answer that was lost it is looked for by this. Keys
                of 1 to 32 characters, values of 1 to 512.
            timeout_h: 1 to 168; OpenAI's jobs have 24 hours whatever it is.

        Raises:
            QueueError: As many requests wait as may.
            GoneError: The file is not there, or no longer.
            RunError: The key or the model is refused, or the server fails for too long.
        """
        order = self._form.creation(
            file_id=file_id, model=self._model, metadata=metadata, timeout_h=timeout_h
        )
        return await self._create(order, metadata)

    async def create_inline(
        self, lines: Sequence[bytes], *, metadata: Mapping[str, str], timeout_h: int
    ) -> Job:
        """Make a job that carries its lines, where `inline`.

        Raises:
            RefusedFileError: There are more lines than such a job carries.
            RunError: As for `create`.
        """
        if len(lines) > self._form.max_inline_requests:
            raise RefusedFileError(
                f"{len(lines)} lines; a job of {self._form.name} carries "
                f"{self._form.max_inline_requests} itself"
            )
        order = self._form.inline_creation(
            lines, model=self._model, metadata=metadata, timeout_h=timeout_h
        )
        return await self._create(order, metadata)

    async def find_job(self, metadata: Mapping[str, str]) -> Job | None:
        """The newest job that has all of this metadata.

        Raises:
            RunError: The key is refused, or the server fails for too long.
        """
        return await self._find_job(metadata)

    async def job(self, job_id: str, *, is_new: bool = True) -> Job:
        """How far a job is; waits some seconds for a new one that is not found yet.

        Raises:
            GoneError: There is none.
            RunError: The key is refused, or the server fails for too long.
        """
        return await self._patiently(Call.LOOK, lambda: self._look(job_id), is_new=is_new)

    async def cancel(self, job_id: str, *, is_new: bool = True) -> Job:
        """Ask a job to end; one that has ended is only looked at. A new one is waited for.

        Raises:
            GoneError: There is none.
            RunError: The key is refused, or the server fails for too long.
        """

        async def ask() -> Job:
            path = f"{self._form.jobs_path}/{job_id}/cancel"
            try:
                return self._read_job(await self._calls.json(Call.CANCEL, "POST", path))
            except EndpointError:  # OpenAI: it has ended
                return await self._look(job_id)

        return await self._patiently(Call.CANCEL, ask, is_new=is_new)

    async def results(self, job: Job) -> AsyncGenerator[Result, None]:
        """What became of the lines of a job that has ended, in any order.

        A line may come twice, and lines may be missing: those that were not worked on, and those
        that are cut or odd, which are left out. Memory is that of some mebibytes of lines; only
        results that the job carries itself are read at once.

        Raises:
            GoneError: They are not there, or no longer.
            StorageError: There is no room for them.
            RunError: The key is refused, or the server fails for too long.
        """
        for file_id in job.result_files:
            downloaded = download_results(self._calls, file_id, scratch=self._scratch)
            async with aclosing(downloaded) as results:
                async for result in results:
                    yield result
        if not job.result_files and self._form.has_inline:
            for result in await self._carried_results(job):
                yield result

    async def aclose(self) -> None:
        """Close the connections."""
        await self._calls.aclose()

    async def _create(self, order: bytes, metadata: Mapping[str, str]) -> Job:
        path = self._form.jobs_path

        async def make() -> Job:
            return self._read_job(await self._calls.json(Call.CREATE, "POST", path, body=order))

        return await self._calls.make(Call.CREATE, make, lambda: self._find_job(metadata))

    async def _find_job(self, metadata: Mapping[str, str]) -> Job | None:
        query = self._form.jobs_query(metadata)
        async for row in rows_of(self._calls, self._form, self._form.jobs_path, query):
            try:
                job = self._form.read_job(row)
            except BrokenReplyError:
                continue
            if metadata.items() <= job.metadata.items():
                return job
        return None

    async def _look(self, job_id: str) -> Job:
        path = f"{self._form.jobs_path}/{job_id}"
        return self._read_job(await self._calls.json(Call.LOOK, "GET", path))

    async def _patiently(
        self, call: Call, attempt: Callable[[], Awaitable[Job]], *, is_new: bool
    ) -> Job:
        tries, until_s = 0, self._clock.now() + (NEW_JOB_S if is_new else 0.0)
        while True:
            try:
                return await self._calls.outlast(call, attempt)
            except GoneError:
                if self._clock.now() >= until_s:
                    raise
            tries += 1
            await self._clock.sleep(backoff_s(tries, jitter=self._clock.jitter()))

    async def _carried_results(self, job: Job) -> list[Result]:
        path = f"{self._form.jobs_path}/{job.id}"

        async def look() -> Any:  # noqa: ANN401  (any JSON)
            return await self._calls.json(Call.DOWNLOAD, "GET", path, query={"inline": "true"})

        document = await self._calls.outlast(Call.DOWNLOAD, look)
        rows = document.get("outputs") if isinstance(document, dict) else None
        results = [read_row(row) for row in rows] if isinstance(rows, list) else []
        return [result for result in results if result is not None]

    def _read_job(self, document: Any) -> Job:  # noqa: ANN401  (any JSON)
        try:
            return self._form.read_job(document)
        except BrokenReplyError as error:
            raise no_sense(str(error)) from error
