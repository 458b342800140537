"""The first 100 bytes of a database file. Source: sqlite.org/fileformat2.html, section 1.3."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_LEAST_USABLE_BYTES = 480


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    Attributes:
        page_size: Bytes a page.
        usable_bytes: Bytes a page without what extensions reserve at its end.
        page_count: Pages at the last commit that was carried into the file.
        first_free_page: Where the list of pages out of use begins, or 0.
        user_version: The program's own number: here the format of the ledger.
    """

    page_size: int
    usable_bytes: int
    page_count: int
    first_free_page: int
    user_version: int

    @property
    def file_bytes(self) -> int:
        """How large the file should be."""
        return self.page_size * self.page_count


def read_header(data: bytes) -> Header | None:
    """The header at the start of a file or of its first page, or None where that is overwritten."""
    if len(data) < HEADER_BYTES or not data.startswith(_MAGIC):
        return None
    (page_size,) = struct.unpack_from(">H", data, 16)
    page_size = 1 << 16 if page_size == 1 else page_size  # too large for its two bytes
    usable_bytes = page_size - data[20]
    if not is_page_size(page_size) or usable_bytes < _LEAST_USABLE_BYTES:
        return None
    page_count, first_free_page = struct.unpack_from(">2I", data, 28)
    (user_version,) = struct.unpack_from(">I", data, 60)
    return Header(page_size, usable_bytes, page_count, first_free_page, user_version)


def is_page_size(size: int) -> bool:
    """Whether SQLite has pages of that many bytes."""
    return 512 <= size <= 65_536 and size & (size - 1) == 0  # noqa: PLR2004  (SQLite's bounds)
