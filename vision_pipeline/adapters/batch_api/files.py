"""Input files: uploaded once, found by name, deleted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

import httpx

from vision_pipeline.adapters.batch_api.calls import Calls, no_sense
from vision_pipeline.adapters.batch_api.listing import rows_of
from vision_pipeline.core.batch import BatchForm, mark_of
from vision_pipeline.core.batch_refusals import Call, refused_lines
from vision_pipeline.core.errors import GoneError, LineFault, RefusedFileError, StorageError


class Files:
    """The files of a key at a provider; what its methods raise, `BatchApi` says.

    Args:
        calls: Of the API.
        form: How the provider speaks.
    """

    def __init__(self, calls: Calls, form: BatchForm) -> None:
        self._calls = calls
        self._form = form

    async def upload(self, file: Path, name: str) -> str:
        """Upload a file under a name that no other one has; gives its id."""
        size_bytes = await asyncio.to_thread(_size_bytes, file)
        if size_bytes > self._form.max_file_bytes:
            raise RefusedFileError(
                f"{file}: {size_bytes} bytes; {self._form.name} takes files of "
                f"{self._form.max_file_bytes}"
            )

        async def send() -> str:
            return await self._send(file, name)

        async def find() -> str | None:
            return await self.find(name, size_bytes=size_bytes)

        try:
            return await self._calls.make(Call.UPLOAD, send, find)
        except RefusedFileError as error:
            if not error.faults:
                raise
            marked = await asyncio.to_thread(_marked, file, error.faults)
            raise refused_lines(marked) from error

    async def find(self, name: str, *, size_bytes: int | None = None) -> str | None:
        """The newest of exactly that name, and of that size if it is told."""
        async for row in rows_of(self._calls, self._form, "files", self._form.files_query(name)):
            is_whole = size_bytes is None or row.get("bytes", size_bytes) == size_bytes
            if row.get("filename") == name and is_whole and row.get("id"):
                return str(row["id"])
        return None

    async def delete(self, file_id: str) -> None:
        """Delete a file, which may be gone already."""
        try:
            await self._calls.outlast(
                Call.DELETE, lambda: self._calls.json(Call.DELETE, "DELETE", f"files/{file_id}")
            )
        except GoneError:
            return

    async def _send(self, file: Path, name: str) -> str:
        url = (await self._calls.line()).url("files")
        try:
            source = await asyncio.to_thread(file.open, "rb")
        except OSError as error:
            raise StorageError(f"{file}: {error.strerror or error}") from error
        with source:
            form = httpx.Request(
                "POST",
                url,
                data={"purpose": "batch"},
                files={"file": (name, source, "application/jsonl")},
            )
            headers = [(key, form.headers[key]) for key in ("Content-Type", "Content-Length")]
            stream = cast("httpx.AsyncByteStream", form.stream)
            async with self._calls.exchange(
                Call.UPLOAD, "POST", url, headers=headers, stream=stream
            ) as answer:
                card = await answer.json()
        try:
            return str(card["id"])
        except (LookupError, TypeError) as error:
            raise no_sense(f"{Call.UPLOAD}: no id in the answer") from error


def _size_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise StorageError(f"{file}: {error.strerror or error}") from error


def _marked(file: Path, faults: tuple[LineFault, ...]) -> tuple[LineFault, ...]:
    """The faults with the marks of their lines."""
    marks = dict.fromkeys((fault.number for fault in faults), "")
    with file.open("rb") as source:
        for number, line in enumerate(islice(source, max(0, *marks)), start=1):
            if number in marks:
                marks[number] = mark_of(line)
    return tuple(replace(fault, custom_id=marks[fault.number]) for fault in faults)
