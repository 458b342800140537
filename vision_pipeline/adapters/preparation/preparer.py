"""From encoded source to prepared image: here where no decoder is needed, else by a worker."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from vision_pipeline.adapters.preparation.workers import WorkerLimits, Workers
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_memory import may_exceed
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.imaging import as_it_is, joined
from vision_pipeline.core.records import PreparedImage, SourceImage

_THREADS_PER_WORKER = 2  # one waits for the worker, one looks at files that need none


class Preparer:
    """Prepares images on all cores, off the event loop.

    Args:
        settings: For every image.
        limits: What decoding one image may take.
        workers: How many processes decode side by side, at least 1.
    """

    def __init__(
        self, settings: ImageSettings, limits: WorkerLimits | None = None, *, workers: int
    ) -> None:
        self._settings = settings
        limits = limits or WorkerLimits()
        self._max_bytes = limits.max_bytes
        self._workers = Workers(settings, limits, count=workers)
        self._threads = ThreadPoolExecutor(_THREADS_PER_WORKER * workers, "prepare")

    async def prepare(
        self, source: SourceImage, *, page: int | None, max_sent_bytes: int
    ) -> PreparedImage:
        """The image as it goes to the model.

        Args:
            source: The encoded file.
            page: Of a document, which page, from 1; None for the first or only one.
            max_sent_bytes: The most bytes for this image, if the settings do not say less.

        Raises:
            ItemError: It cannot be read, or its decoder crashed or hung.
            RunError: No worker can be started.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, self._prepare, source, page, max_sent_bytes
        )

    def count_pages(self, source: bytes) -> int:
        """How many pages a PDF document has; blocks: for threads.

        Raises:
            ItemError: It cannot be read, or PDF is not decoded here.
            RunError: No worker can be started.
        """
        head, _ = self._workers.call({"do": "count_pages"}, source)
        return int(head["pages"])

    def close(self) -> None:
        """End the workers; what is being prepared is given up."""
        self._workers.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, source: SourceImage, page: int | None, max_sent_bytes: int) -> PreparedImage:
        settings = self._settings
        if max_sent_bytes < settings.max_sent_bytes:
            settings = replace(settings, max_sent_bytes=max_sent_bytes)
        prepared = as_it_is(source.data, settings) if page is None else None
        if prepared is None:
            task = {"do": "prepare", "page": page, "max_sent_bytes": settings.max_sent_bytes}
            head, data = self._call(task, source.data)
            prepared = PreparedImage(**head, data=data)
        elif settings.verify == "full":
            head, _ = self._call({"do": "check"}, source.data)
            prepared = replace(prepared, note=joined(prepared.note, head["note"]))
        return replace(prepared, version=source.version)

    def _call(self, task: dict[str, Any], source: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            return self._workers.call(task, source)
        except ItemError as error:
            if error.code is not ErrorCode.UNREADABLE_IMAGE or not self._lacks_memory(source):
                raise
            detail = (
                f"it may take more memory than image.max_decode_bytes ({self._max_bytes}) allows; "
                f"raise it, or if that does not help, replace the file: {error.detail}"
            )
            raise ItemError(ErrorCode.IMAGE_TOO_LARGE, detail) from error

    def _lacks_memory(self, source: bytes) -> bool:
        """Whether an image that could not be decoded may be whole, but too large."""
        if may_exceed(self._max_bytes, source_bytes=len(source), size=None):
            return True
        try:
            head, _ = self._workers.call({"do": "measure"}, source)
        except ItemError:  # its decoder crashes at once
            return False
        size = head["size"]
        return may_exceed(self._max_bytes, source_bytes=len(source), size=size and tuple(size))
