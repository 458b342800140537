"""Which directories of a TIFF file are pages, told without a decoder."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_MARKS = {
    b"II*\x00": ("<", False),
    b"MM\x00*": (">", False),
    b"II+\x00": ("<", True),
    b"MM\x00+": (">", True),
}
_NEW_SUBFILE_TYPE = 254
_REDUCED, _MASK = 1, 4  # its bits: a smaller copy of another page, a transparency mask
_MOST_ENTRIES = 4096  # real directories have some dozens; a count beyond is damage
_MOST_COPIES = 32  # of one page; pyramids have about ten, each half as large as the one before
# A cut file whose first directory is whole ends before the second one, but not so long before: what
# lies between them is one page, or its directory.
_MOST_MISSING = 16
_SHORT = 3  # the field type of 16 bits; the other that stands here has 32


class _CutError(Exception):
    """A directory is not there, or not whole, and may be cut off."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers are written: TIFF 6.0, section 2, or BigTIFF as libtiff defines it."""

    order: str
    is_big: bool

    @property
    def pointer(self) -> str:
        return self.order + ("Q" if self.is_big else "I")

    @property
    def counter(self) -> str:
        return self.order + ("Q" if self.is_big else "H")

    @property
    def first_pointer_at(self) -> int:
        return 8 if self.is_big else 4

    @property
    def entry_bytes(self) -> int:
        return 20 if self.is_big else 12

    @property
    def value_at(self) -> int:
        return 12 if self.is_big else 8


@dataclass(frozen=True, slots=True)
class TiffPages:
    """The pages of a file, smaller copies and masks left out.

    Attributes:
        frames: The frame number of each page, from 0; at least one. One more than there are
            directories stands for a page that is missing: it becomes an error that somebody sees.
        leads_astray: Whether the only directory points to a further one in a place where none can
            have been: rubbish of its writer, or damage.
    """

    frames: list[int]
    leads_astray: bool = False


def tiff_pages(file: IO[bytes], *, most: int) -> TiffPages:
    """Which frames of a file are pages.

    Follows the chain of directories, a few bytes each, and stops where it leads round in a circle.
    Where it breaks off, as in a file cut short, the missing one counts as a page; behind the first
    directory only if it was within reach, for some writers leave rubbish there.

    Args:
        file: At any position, seekable.
        most: Pages beyond `most` + 1 are not looked for.

    Returns:
        The frame 0 for a file that is no TIFF or damaged from the beginning.
    """
    pages: list[int] = []
    looked_at, leads_astray = 0, False
    try:
        for kind in _kinds(file):
            if not kind & (_REDUCED | _MASK):
                pages.append(looked_at)
            looked_at += 1
            if len(pages) > most or looked_at > (most + 1) * _MOST_COPIES:
                break
    except _CutError:
        pages += [looked_at] if looked_at else []
    except (OSError, ValueError, OverflowError):
        pages += [looked_at] if looked_at > 1 else []
        leads_astray = looked_at == 1
    return TiffPages(pages or [0], leads_astray)


def _kinds(file: IO[bytes]) -> Iterator[int]:
    """The NewSubfileType of each directory in the chain."""
    size = file.seek(0, 2)
    file.seek(0)
    mark = file.read(4)
    if mark not in _MARKS:
        return
    layout = _Layout(*_MARKS[mark])
    offset = _number(file, layout.pointer, layout.first_pointer_at)
    seen: set[int] = set()
    while offset and offset not in seen:
        seen.add(offset)
        if offset > size * _MOST_MISSING:
            raise ValueError(f"a directory at {offset} of {size} bytes")
        kind, offset = _directory(file, offset, layout)
        yield kind


def _directory(file: IO[bytes], offset: int, layout: _Layout) -> tuple[int, int]:
    """Its NewSubfileType, and where the next directory is."""
    count = _number(file, layout.counter, offset)
    if count > _MOST_ENTRIES:
        raise ValueError(f"a directory of {count} entries")
    pointer_bytes = struct.calcsize(layout.pointer)
    rest = file.read(count * layout.entry_bytes + pointer_bytes)
    end = count * layout.entry_bytes
    if len(rest) < end + pointer_bytes:
        raise _CutError
    return _subfile_type(rest[:end], layout), struct.unpack(layout.pointer, rest[end:])[0]


def _number(file: IO[bytes], form: str, offset: int) -> int:
    file.seek(offset)
    data = file.read(struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        raise _CutError
    return int(struct.unpack(form, data)[0])


def _subfile_type(entries: bytes, layout: _Layout) -> int:
    for at in range(0, len(entries), layout.entry_bytes):
        tag, field_type = struct.unpack_from(f"{layout.order}HH", entries, at)
        if tag == _NEW_SUBFILE_TYPE:
            form = layout.order + ("H" if field_type == _SHORT else "I")
            return int(struct.unpack_from(form, entries, at + layout.value_at)[0])
    return 0
