"""Result files: whole on the disk first, then line by line."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from vision_pipeline.adapters.batch_api.calls import Answer, Calls
from vision_pipeline.core.batch import MAX_RESULT_BYTES, Result, overlong_result, read_result
from vision_pipeline.core.batch_refusals import Call
from vision_pipeline.core.errors import EndpointError, ErrorCode, RetryableError, StorageError
from vision_pipeline.transport.endpoint import MIN_SECRET_CHARS

MAX_FILE_BYTES = 8 * 1024**3
MAX_WHOLE_TRIES = 8  # of a file that comes shorter than its card tells
_SLICE_BYTES = 1024 * 1024
_SKIP_BYTES = 64 * 1024
_PARTIAL = 206

log = logging.getLogger(__name__)


class Download:
    """A file of results on its way to the disk; goes on after a cut where the server can.

    Args:
        calls: Of the API.
        file_id: The provider's.
        file: Where it is put.
    """

    def __init__(self, calls: Calls, file_id: str, file: IO[bytes]) -> None:
        self._calls = calls
        self._file_id = file_id
        self._file = file
        self._size_bytes: int | None = None
        self._can_resume = False
        self._short = 0

    async def run(self) -> None:
        """Take it in; the file stands at its start afterwards.

        Raises:
            GoneError: It is not there, or no longer.
            RunError: The server or the disk fails for too long.
        """
        await self._calls.outlast(Call.DOWNLOAD, self._attempt)
        self._file.seek(0)

    async def _attempt(self) -> None:
        path = f"files/{self._file_id}"
        if self._size_bytes is None:
            card = await self._calls.json(Call.DOWNLOAD, "GET", path)
            told = card.get("bytes") if isinstance(card, dict) else None
            self._size_bytes = told if isinstance(told, int) and told > 0 else 0
        url = (await self._calls.line()).url(f"{path}/content")
        # Not compressed, so that what is there can be counted in the file's own bytes.
        headers = [("Accept", "application/octet-stream"), ("Accept-Encoding", "identity")]
        start = self._file.tell()
        if self._can_resume and 0 < start < self._size_bytes:
            headers.append(("Range", f"bytes={start}-"))
        async with self._calls.exchange(Call.DOWNLOAD, "GET", url, headers=headers) as answer:
            await self._take(answer, start)
        self._check_size()

    async def _take(self, answer: Answer, start: int) -> None:
        told = answer.response.headers
        is_rest = answer.response.status_code == _PARTIAL
        if not (is_rest and told.get("content-range", "").startswith(f"bytes {start}-")):
            with _on_disk():
                self._rewind()
        self._can_resume = told.get("content-encoding", "identity") == "identity"
        async for piece in answer.pieces():
            with _on_disk():
                self._file.write(piece)
            if self._file.tell() > MAX_FILE_BYTES:
                raise EndpointError(f"results of more than {MAX_FILE_BYTES} bytes are not taken")

    def _rewind(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def _check_size(self) -> None:
        came = self._file.tell()
        if not self._size_bytes or came >= self._size_bytes:  # lines that come twice do no harm
            return
        self._short += 1
        detail = f"{came} bytes of results came instead of {self._size_bytes}"
        if self._short < MAX_WHOLE_TRIES:
            self._can_resume = False
            raise RetryableError(ErrorCode.MODEL_UNAVAILABLE, f"{Call.DOWNLOAD}: {detail}")
        log.warning("%s: what can be read of them is taken", detail)


async def download_results(
    calls: Calls, file_id: str, *, scratch: Path | None
) -> AsyncGenerator[Result, None]:
    """The results in a file; lines that are cut or odd are left out, and counted in the log.

    Args:
        calls: Of the API.
        file_id: The provider's.
        scratch: The folder on whose disk it stands meanwhile; None for the system's.

    Raises:
        GoneError: It is not there, or no longer.
        RunError: The server or the disk fails for too long.
    """
    endpoint = (await calls.line()).endpoint
    mask = partial(endpoint.without_key, min_key_chars=MIN_SECRET_CHARS)
    with _on_disk():
        file = await asyncio.to_thread(tempfile.TemporaryFile, "w+b", dir=scratch)
    with file:
        await Download(calls, file_id, file).run()
        reader = ResultReader(file, mask=mask)
        while results := await asyncio.to_thread(reader.take):
            for result in results:
                yield result
    if reader.skipped:
        log.warning("%d lines of results are cut, odd or not ours; left out", reader.skipped)


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        detail = f"results of a batch job cannot be kept: {error.strerror or error}"
        raise StorageError(detail) from error


class ResultReader:
    """Results out of a file, about a mebibyte at a time.

    Args:
        file: Where they stand.
        mask: Takes the key out of a line.
        max_bytes: Of a line; a longer one becomes a result that says so.

    Attributes:
        skipped: Lines that are no results.
    """

    def __init__(
        self,
        file: IO[bytes],
        *,
        mask: Callable[[bytes], bytes],
        max_bytes: int = MAX_RESULT_BYTES,
    ) -> None:
        self._file = file
        self._mask = mask
        self._max_bytes = max_bytes
        self.skipped = 0

    def take(self) -> list[Result]:
        """The next results, at least one; none at the end."""
        results: list[Result] = []
        end = self._file.tell() + _SLICE_BYTES
        while (not results or self._file.tell() < end) and (
            line := self._file.readline(self._max_bytes + 1)
        ):
            if line.isspace():
                continue
            result = self._read(line)
            if result is None:
                self.skipped += 1
            else:
                results.append(result)
        return results

    def _read(self, line: bytes) -> Result | None:
        if len(line) <= self._max_bytes:
            return read_result(self._mask(line))
        while not line.endswith(b"\n") and (rest := self._file.readline(_SKIP_BYTES)):
            line = line[:_SKIP_BYTES] + rest[-1:]
        return overlong_result(line[:_SKIP_BYTES], max_bytes=self._max_bytes)
