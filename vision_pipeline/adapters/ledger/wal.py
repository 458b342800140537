"""SQLite's write-ahead log as bytes: which page each of its frames holds. Changes nothing.

SQLite itself is not asked, because it deletes a log whose database file is missing or empty.
Source: sqlite.org/fileformat2.html, section 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vision_pipeline.adapters.ledger.header import is_page_size

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
_MAGIC = 0x377F0682  # the last bit tells the byte order of the checksums
_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Frame:
    """One page as a transaction left it.

    Attributes:
        page: Its number, from 1.
        offset: Where its content begins in the log.
        pages_after: Size of the database in pages after the commit that this frame ends, or 0.
        is_whole: Whether it belongs to this log and is undamaged.
    """

    page: int
    offset: int
    pages_after: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Log:
    """What a log holds.

    Attributes:
        page_size: Bytes a page.
        pages: Where the newest committed content of each page begins in the log.
        page_count: Size of the database in pages after the last commit.
        hidden_commits: Commits behind a damaged frame: SQLite drops them without a word.
    """

    page_size: int
    pages: dict[int, int]
    page_count: int
    hidden_commits: int


def wal_path(path: Path) -> Path:
    """Where SQLite keeps the log of a database file."""
    return path.with_name(f"{path.name}-wal")


def size_bytes(path: Path) -> int:
    """How large a file is; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_log(path: Path) -> Log | None:
    """The committed pages of a database file's log, or None without a readable one.

    Each page is held against its checksum, at 0.1 ms a page; one that fails is passed over.
    """
    try:
        with wal_path(path).open("rb") as file:
            header = file.read(HEADER_BYTES)
            head = _Head.read(header)
            frames = list(_frames(file, head))
            file.seek(0)
            is_stable = file.read(HEADER_BYTES) == header  # else a writer began it anew meanwhile
    except (OSError, ValueError, struct.error):
        return None
    commits = [index for index, frame in enumerate(frames) if frame.is_whole and frame.pages_after]
    if not commits:
        return None
    broken = next((i for i, frame in enumerate(frames) if not frame.is_whole), len(frames))
    pages = {frame.page: frame.offset for frame in frames[: commits[-1] + 1] if frame.is_whole}
    hidden = sum(index > broken for index in commits) if is_stable else 0
    return Log(head.page_size, pages, frames[commits[-1]].pages_after, hidden)


@dataclass(frozen=True, slots=True)
class _Head:
    page_size: int
    salts: bytes
    byte_order: str
    checksum: tuple[int, int]

    @classmethod
    def read(cls, data: bytes) -> _Head:
        magic, _, page_size, _, _, _, *checksum = struct.unpack(">8I", data)
        if magic & ~1 != _MAGIC or not is_page_size(page_size):
            raise ValueError("no write-ahead log")
        byte_order = ">" if magic & 1 else "<"
        return cls(page_size, data[16:24], byte_order, (checksum[0], checksum[1]))


def _frames(file: BinaryIO, head: _Head) -> Iterator[Frame]:
    offset, before = HEADER_BYTES, head.checksum
    step = FRAME_HEADER_BYTES + head.page_size
    whole_bytes = file.seek(0, 2)
    while offset + step <= whole_bytes:
        file.seek(offset)
        data = file.read(step)
        page, pages_after = struct.unpack(">2I", data[:8])
        claimed = struct.unpack(">2I", data[16:24])
        # Other salts: left over from before the log was begun anew.
        is_whole = page > 0 and data[8:16] == head.salts
        if is_whole:
            content = data[:8] + data[FRAME_HEADER_BYTES:]
            is_whole = _checksum(content, before, head.byte_order) == claimed
        yield Frame(page, offset + FRAME_HEADER_BYTES, pages_after, is_whole)
        # Each sum begins with the one before, as it stands in the file: so a damaged frame does
        # not hide those after it.
        before = claimed
        offset += step


def _checksum(data: bytes, before: tuple[int, int], byte_order: str) -> tuple[int, int]:
    first, second = before
    words = struct.unpack(f"{byte_order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
