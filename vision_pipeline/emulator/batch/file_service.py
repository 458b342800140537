"""Uploading, listing and downloading files."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from vision_pipeline.emulator.batch.files import StoredFile
from vision_pipeline.emulator.batch.forms import FileQuery, Upload, take_lines
from vision_pipeline.emulator.batch.state import BatchState, Submission
from vision_pipeline.emulator.effects import Resend
from vision_pipeline.emulator.problems import RefusalError, gateway_text

_HOUR_S = 3600


class FileService:
    """The files of one emulator.

    Args:
        state: Where they are, and by which chance they meet a fault.
    """

    def __init__(self, state: BatchState) -> None:
        self._state = state

    async def upload(
        self, name: str, fields: Upload, source: Iterable[bytes], submission: Submission
    ) -> dict[str, Any]:
        """Keep a file; gives its card.

        Args:
            name: As its uploader calls it.
            fields: What is said of it.
            source: Its lines.
            submission: Is given the fault that the upload meets.

        Raises:
            RefusalError: 422 for a file with wrong lines; or what its fault answers.
        """
        state = self._state
        draft = state.files.draft()
        content = await asyncio.to_thread(take_lines, source, draft)
        try:
            state.submit(submission, "upload", content.digest)
        except RefusalError:
            draft.discard()
            raise
        now_s, hours = state.now_s(), fields.expiry
        created_at_s = int(state.epoch_s + now_s)
        file = StoredFile(
            file_id=state.files.new_id(),
            name=name,
            content=content,
            sample_type="batch_request",
            created_at_s=created_at_s,
            visibility=fields.visibility,
        )
        if hours is not None:
            gone_s = now_s + hours * state.settings.batch_hour_s
            file = replace(file, expires_at_s=created_at_s + hours * _HOUR_S, gone_s=gone_s)
        state.files.add(file)
        state.stats.uploads += 1
        state.stats.uploaded_bytes += content.size_bytes
        return file.as_json()

    def list(self, query: FileQuery) -> dict[str, Any]:
        """A page of the files that fit, newest first."""
        files = [file for file in self._state.files.living(self._state.now_s()) if query.fits(file)]
        first = query.page * query.page_size
        return {
            "data": [file.as_json() for file in files[first : first + query.page_size]],
            "object": "list",
            "total": len(files) if query.include_total else None,
        }

    def show(self, file_id: str) -> dict[str, Any]:
        """The card of a file.

        Raises:
            RefusalError: 404; there is none.
        """
        return self._find(file_id).as_json() | {"deleted": False}

    def delete(self, file_id: str) -> dict[str, Any]:
        """Delete a file; a job that needs it and has not read it fails.

        Raises:
            RefusalError: 404; there is none.
        """
        self._state.files.remove(self._find(file_id))
        return {"id": file_id, "object": "file", "deleted": True}

    def download(self, file_id: str) -> tuple[int, Iterator[bytes]]:
        """The size and the bytes of a file, of results as its fault leaves them.

        Raises:
            RefusalError: 404; there is none.
        """
        file = self._find(file_id)
        self._state.stats.downloads += 1
        copies = 1.0
        if file.source != "upload":
            fault = self._state.draw("download", file_id.encode())
            if fault is not None and isinstance(fault.effect, Resend):
                copies = fault.effect.copies
        return round(file.content.size_bytes * copies), file.content.pieces(copies)

    def sign(self, file_id: str, hours: int) -> str:
        """The query of an address that needs no key for so many hours.

        Raises:
            RefusalError: 404; there is no such file.
        """
        self._find(file_id)
        now_s = self._state.epoch_s + self._state.now_s()
        until_s = f"{now_s + hours * self._state.settings.batch_hour_s:.3f}"
        return f"se={until_s}&sig={self._signature(file_id, until_s)}"

    def check_signature(self, file_id: str, until_s: str, signature: str) -> None:
        """Look at such an address.

        Raises:
            RefusalError: 403; it is not one that was given out, or its time is over.
        """
        is_ours = hmac.compare_digest(self._signature(file_id, until_s), signature)
        if not is_ours or float(until_s) < self._state.epoch_s + self._state.now_s():
            raise gateway_text(HTTPStatus.FORBIDDEN, "AuthenticationFailed")  # inferred

    def _find(self, file_id: str) -> StoredFile:
        return self._state.files.find(file_id, self._state.now_s())

    def _signature(self, file_id: str, until_s: str) -> str:
        text = f"{self._state.seed}:{file_id}:{until_s}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
