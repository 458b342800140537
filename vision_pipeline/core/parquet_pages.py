"""The pages of a column in a Parquet file, as their headers tell before anything is unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# How much is read for one header; statistics make some longer. Arrow reads no more than the last.
_HEADER_BYTES = (1024, 64 * 1024, 16 * 1024 * 1024)
_MOST_DEPTH = 4  # of structures in a header; the format's own has three

# Types of Thrift's compact protocol: those that stand in headers of pages.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 12
_FIXED_BYTES = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}
_VARINTS = frozenset({_I16, _I32, _I64})
_STOP = 0
_MOST_SHIFT = 63

# Fields of `PageHeader`, and of the header of data within it for each kind of page that has one.
_KIND, _UNPACKED_BYTES, _STORED_BYTES = 1, 2, 3
_DATA_HEADERS = {0: 5, 3: 8}
_VALUES = 1

_Fields = dict[int, Any]


class DamagedPageError(ValueError):
    """What stands where a page begins is no header of a page."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, by its header.

    Attributes:
        rows: Values in it, nulls too; 0 of a dictionary.
        size_bytes: As stored or as unpacked, whichever is more.
    """

    rows: int
    size_bytes: int


def pages_of(
    read: Callable[[int, int], bytes], *, start: int, end: int, rows: int
) -> Iterator[Page]:
    """The pages of one column in one row group, in the order in which they are decoded.

    Args:
        read: Gives at most so many bytes from a place on; less only at the end of the file.
        start: Where the first page begins.
        end: Behind the last page.
        rows: How many values the pages hold.

    Raises:
        DamagedPageError: Behind the pages so far is none.
    """
    at = start
    while rows > 0 and at < end:
        header, header_bytes = _header_at(read, at)
        stored_bytes = _natural(header.get(_STORED_BYTES))
        page = Page(_values(header), max(stored_bytes, _natural(header.get(_UNPACKED_BYTES))))
        yield page
        rows -= page.rows
        at += header_bytes + stored_bytes


def _values(header: _Fields) -> int:
    data = header.get(_DATA_HEADERS.get(_natural(header.get(_KIND)), 0))
    return _natural(data.get(_VALUES)) if isinstance(data, dict) else 0


def _natural(value: object) -> int:
    if isinstance(value, int) and value >= 0:
        return value
    raise DamagedPageError("the header of a page lacks a number")


def _header_at(read: Callable[[int, int], bytes], at: int) -> tuple[_Fields, int]:
    for most in _HEADER_BYTES:
        compact = _Compact(read(at, most))
        try:
            return compact.structure(), compact.at
        except IndexError:  # it goes on behind what was read
            continue
    raise DamagedPageError(f"no page begins at byte {at}")


class _Compact:
    """Reads Thrift's compact protocol: 32-bit integers, and structures of them.

    Attributes:
        at: How far it is read.

    Args:
        data: Begins with a structure; reading behind its end is an `IndexError`.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def structure(self, depth: int = 1) -> _Fields:
        """The integers and structures in a structure, by the numbers of their fields."""
        if depth > _MOST_DEPTH:
            raise DamagedPageError("the header of a page is nested too deep")
        fields: _Fields = {}
        number = 0
        while (head := self._byte()) != _STOP:
            step, kind = head >> 4, head & 0xF
            number = number + step if step else self._integer()
            if kind == _I32:
                fields[number] = self._integer()
            elif kind == _STRUCT:
                fields[number] = self.structure(depth + 1)
            else:
                self._step_over(kind)
        return fields

    def _step_over(self, kind: int) -> None:
        if kind in _VARINTS:
            self._varint()
        elif kind == _BINARY:
            size = self._varint()
            self.at += size
        elif kind in _FIXED_BYTES:
            self.at += _FIXED_BYTES[kind]
        else:
            raise DamagedPageError("the header of a page holds what no header does")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > _MOST_SHIFT:
                raise DamagedPageError("the header of a page holds a number without end")
        return value | byte << shift

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
