"""SQLite's pages as bytes: records are read off them one page at a time, whatever leads there.

SQLite reads a table from its root; where a page on the way is damaged, everything behind it is
lost to it. Here each page speaks for itself. Source: sqlite.org/fileformat2.html, sections 1 and 2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vision_pipeline.adapters.ledger.header import HEADER_BYTES

TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x0A, 0x02
_LEAF_HEADER_BYTES, _INTERIOR_HEADER_BYTES = 8, 12
_MOST_VARINT_BYTES = 9
_FLOAT, _ZERO, _ONE, _FIRST_BLOB, _FIRST_TEXT = 7, 8, 9, 12, 13
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)

Value = None | int | float | bytes | str


class BrokenPageError(ValueError):
    """What stands on a page is no part of a tree."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table, or an entry of an index.

    Attributes:
        number: The row's number; 0 for an entry.
        values: Its columns, or None where the content cannot be read.
    """

    number: int
    values: tuple[Value, ...] | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads records.

    Attributes:
        usable_bytes: Size of a page without what extensions reserve at its end.
        page: The content of a page by its number, or None where there is none.
        page_count: The highest number.
    """

    usable_bytes: int
    page: Callable[[int], bytes | None]
    page_count: int

    def records(self, page: bytes, *, is_first: bool) -> Iterator[Record]:
        """The records on a page, as far as they can be read; none where it is no page of a tree.

        Args:
            page: Its content.
            is_first: Whether it is page 1, which begins with the header of the file.
        """
        start = HEADER_BYTES if is_first else 0
        kind = page[start]
        if kind not in {TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR}:
            return
        is_interior = kind == INDEX_INTERIOR
        first = start + (_INTERIOR_HEADER_BYTES if is_interior else _LEAF_HEADER_BYTES)
        (count,) = struct.unpack_from(">H", page, start + 3)
        if first + 2 * count > self.usable_bytes:
            return
        for at in struct.unpack_from(f">{count}H", page, first):
            try:
                yield self._cell(page, at + (4 if is_interior else 0), is_row=kind == TABLE_LEAF)
            except (BrokenPageError, IndexError, struct.error):
                continue

    def _cell(self, page: bytes, at: int, *, is_row: bool) -> Record:
        size, at = _varint(page, at)
        number = 0
        if is_row:
            number, at = _varint(page, at)
            if not 0 < number < 1 << 63:
                raise BrokenPageError(f"row number {number}")
        try:
            return Record(number, values(self._payload(page, at, size, is_row=is_row)))
        except (BrokenPageError, IndexError, struct.error, UnicodeDecodeError):
            return Record(number, None)

    def _payload(self, page: bytes, at: int, size: int, *, is_row: bool) -> bytes:
        if size > self.page_count * self.usable_bytes:
            raise BrokenPageError(f"a record of {size} bytes")
        here = _bytes_here(size, self.usable_bytes, is_row=is_row)
        if at + here > self.usable_bytes:
            raise BrokenPageError("a record beyond the end of its page")
        if here == size:
            return page[at : at + size]
        (follows,) = struct.unpack_from(">I", page, at + here)
        pieces = [page[at : at + here]]
        missing = size - here
        while missing > 0:
            overflow = self.page(follows)
            if overflow is None:
                raise BrokenPageError(f"page {follows} is missing")
            (follows,) = struct.unpack_from(">I", overflow)
            pieces.append(overflow[4 : min(self.usable_bytes, 4 + missing)])
            missing -= len(pieces[-1])
        if follows:  # the chain of another record
            raise BrokenPageError("a record that does not end")
        return b"".join(pieces)

    def free_pages(self, trunk: int) -> set[int]:
        """Pages out of use, by the list that begins on that page.

        They may still hold rows that were deleted. Where the list is broken it ends.
        """
        found: set[int] = set()
        while trunk and trunk not in found and (page := self.page(trunk)) is not None:
            found.add(trunk)
            trunk, count = struct.unpack_from(">2I", page)
            if count > self.usable_bytes // 4 - 2:
                break
            found.update(struct.unpack_from(f">{count}I", page, 8))
        return found


def _bytes_here(size: int, usable: int, *, is_row: bool) -> int:
    """How much of a record stands on its own page; the rest is on overflow pages."""
    most = usable - 35 if is_row else (usable - 12) * 64 // 255 - 23
    if size <= most:
        return size
    least = (usable - 12) * 32 // 255 - 23
    here = least + (size - least) % (usable - 4)
    return here if here <= most else least


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where the next thing begins."""
    value = 0
    for index in range(_MOST_VARINT_BYTES - 1):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004  (the bit that says that another byte follows)
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def values(payload: bytes) -> tuple[Value, ...]:
    """The columns of a record.

    Raises:
        BrokenPageError: It is none; also IndexError, UnicodeDecodeError and struct.error.
    """
    at, kind_at = _varint(payload, 0)
    end = at
    found: list[Value] = []
    while kind_at < end:
        kind, kind_at = _varint(payload, kind_at)
        value, at = _value(payload, at, kind)
        found.append(value)
    if at != len(payload) or kind_at != end:
        raise BrokenPageError("a record of another length than its columns")
    return tuple(found)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind >= _FIRST_BLOB:
        end = at + (kind - _FIRST_BLOB) // 2
        data = payload[at:end]
        return (data.decode() if kind % 2 else data), end
    if kind in {_ZERO, _ONE}:
        return kind - _ZERO, at
    if kind == _FLOAT:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind == 0:
        return None, at
    if kind >= len(_INTEGER_BYTES):
        raise BrokenPageError(f"a column of kind {kind}")
    end = at + _INTEGER_BYTES[kind]
    return int.from_bytes(payload[at:end], "big", signed=True), end
