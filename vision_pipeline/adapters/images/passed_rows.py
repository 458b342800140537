"""Rows that were decoded on the way to another one, kept until somebody asks for them."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO

MEBIBYTE = 1024 * 1024

# What a row holds: its bytes, or, where it has none, the path that stands beside them or "".
Value = bytes | str

_SEGMENT_ROWS = 16_384


@dataclass(slots=True, eq=False)
class _Segment:
    """A temporary file, already unlinked where the system can: a killed run leaves nothing."""

    file: IO[bytes]
    size_bytes: int = 0
    rows: int = 0
    places: dict[Hashable, _Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Place:
    offset_bytes: int
    size_bytes: int
    is_text: bool


class PassedRows:
    """A store that gives each row out once: in memory, and the oldest ones on disk.

    Safe in threads. What fits nowhere is forgotten, oldest first; its reader decodes it again.

    Args:
        memory_bytes: The newest rows stay in memory up to here; one row more may.
        segment_bytes: Size of a temporary file, one row more or less.
        max_segments: Temporary files at once. 0: nothing goes to disk.
        free_bytes: No file is begun where the disk has less than this left.
        folder: Where the files are; None for the system's (`TMPDIR`).
    """

    def __init__(
        self,
        *,
        memory_bytes: int = 64 * MEBIBYTE,
        segment_bytes: int = 128 * MEBIBYTE,
        max_segments: int = 64,
        free_bytes: int = 1024 * MEBIBYTE,
        folder: Path | None = None,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._segment_bytes = segment_bytes
        self._max_segments = max_segments
        self._free_bytes = free_bytes
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._lock = Lock()
        self._in_memory: OrderedDict[Hashable, Value] = OrderedDict()
        self._size_bytes = 0
        self._segments: list[_Segment] = []
        self._on_disk: dict[Hashable, _Segment] = {}

    @property
    def disk_bytes(self) -> int:
        """Size of the temporary files."""
        return sum(segment.size_bytes for segment in self._segments)

    def put(self, key: Hashable, value: Value) -> None:
        """Keep a row; one that is kept already is not kept twice."""
        with self._lock:
            if key in self._in_memory or key in self._on_disk:
                return
            self._in_memory[key] = value
            self._size_bytes += len(value)
            while self._size_bytes > self._memory_bytes and len(self._in_memory) > 1:
                oldest, moved = self._in_memory.popitem(last=False)
                self._size_bytes -= len(moved)
                self._spill(oldest, moved)

    def take(self, key: Hashable) -> Value | None:
        """A row, which is then no longer kept; None where it is not."""
        with self._lock:
            if key in self._in_memory:
                value = self._in_memory.pop(key)
                self._size_bytes -= len(value)
                return value
            segment = self._on_disk.pop(key, None)
            return None if segment is None else self._taken(segment, key)

    def close(self) -> None:
        """Forget all rows and remove the files."""
        with self._lock:
            self._in_memory.clear()
            self._size_bytes = 0
            while self._segments:
                self._drop(self._segments[0])

    def _taken(self, segment: _Segment, key: Hashable) -> Value | None:
        place = segment.places.pop(key)
        try:
            segment.file.seek(place.offset_bytes)
            data = segment.file.read(place.size_bytes)
        except OSError:  # the disk failed: as if it had been forgotten
            data = b""
        # Only a segment that is no longer written to: the last one's file goes on.
        if not segment.places and segment is not self._segments[-1]:
            self._drop(segment)
        if len(data) != place.size_bytes:
            return None
        return data.decode() if place.is_text else data

    def _spill(self, key: Hashable, value: Value) -> None:
        segment = self._writable()
        if segment is None:
            return
        data = value.encode() if isinstance(value, str) else value
        try:
            segment.file.seek(segment.size_bytes)
            segment.file.write(data)
            segment.file.flush()
        except OSError:  # full, whatever it said before
            self._drop(segment)
            return
        segment.places[key] = _Place(segment.size_bytes, len(data), isinstance(value, str))
        segment.size_bytes += len(data)
        segment.rows += 1
        self._on_disk[key] = segment

    def _writable(self) -> _Segment | None:
        if self._segments:
            last = self._segments[-1]
            if last.size_bytes < self._segment_bytes and last.rows < _SEGMENT_ROWS:
                return last
            if len(self._segments) >= self._max_segments:
                self._drop(self._segments[0])
        if not self._max_segments:
            return None
        try:
            if shutil.disk_usage(self._folder).free < self._free_bytes:
                return None
            # Closed by `_drop`, when its rows are read or forgotten.
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        except OSError:
            return None
        self._segments.append(_Segment(file))
        return self._segments[-1]

    def _drop(self, segment: _Segment) -> None:
        self._segments.remove(segment)
        for key in segment.places:
            self._on_disk.pop(key, None)
        with suppress(OSError):  # what could not be written is written again by closing
            segment.file.close()
