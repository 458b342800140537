"""A file of requests for a batch job, on this machine for as long as it takes to hand it over."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vision_pipeline.core.errors import StorageError


class InputFile:
    """Lines in a temporary file.

    Raises:
        StorageError: By whatever writes: the disk is full.
    """

    def __init__(self) -> None:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="vision-pipeline-")
            self._file = self.path.open("wb")
        except OSError as error:
            raise self._failed(error) from error
        self._size_bytes = 0

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._folder.name) / "requests.jsonl"

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return self._size_bytes

    def add(self, line: bytes) -> None:
        """Add a line, its end included."""
        try:
            self._file.write(line)
        except OSError as error:
            raise self._failed(error) from error
        self._size_bytes += len(line)

    def lines(self) -> list[bytes]:
        """All of them, after `flush`."""
        return self.path.read_bytes().splitlines(keepends=True)

    def flush(self) -> None:
        """Make all of it readable at its path."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Delete it."""
        self._file.close()
        self._folder.cleanup()

    def _failed(self, error: OSError) -> StorageError:
        folder = tempfile.gettempdir()
        return StorageError(
            f"{folder}: a file of requests cannot be written: {error.strerror or error}"
        )
