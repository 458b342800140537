"""A database file and its log as the last commit left them, page by page; SQLite is not asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vision_pipeline.adapters.ledger.header import HEADER_BYTES, Header, read_header
from vision_pipeline.adapters.ledger.pages import Reader, Record
from vision_pipeline.adapters.ledger.wal import Log, read_log, wal_path

USUAL_PAGE_SIZE = 4096  # what SQLite takes since 2016


class Snapshot:
    """Every page that can still be read, from the file or from its log.

    Attributes:
        format_version: Of the ledger, or None where the first page is lost.
        page_count: The highest page of which there is anything.
        missing_pages: How many pages there were at the last commit and are not any more, as far as
            anything says so; complete once all records were read.
    """

    def __init__(self, file: BinaryIO | None, log_file: BinaryIO | None, log: Log | None) -> None:
        self._file, self._log_file = file, log_file
        self._log = log
        self._pages = log.pages if log else {}
        header = read_header(file.read(HEADER_BYTES)) if file else None
        self._page_size = _page_size(header, log)
        held = file.seek(0, 2) // self._page_size if file else 0
        self.page_count = max([held, *self._pages])
        header = read_header(self.page(1) or b"") or header  # that of the log is the newer one
        self.format_version = header.user_version if header else None
        expected = log.page_count if log else header.page_count if header else 0
        self.missing_pages = max(0, expected - self.page_count)
        usable_bytes = header.usable_bytes if header else self._page_size
        self._reader = Reader(usable_bytes, self.page, self.page_count)
        self._free = self._reader.free_pages(header.first_free_page) if header else set()

    def page(self, number: int) -> bytes | None:
        """The content of a page, or None where it cannot be read."""
        if not 0 < number <= self.page_count:
            return None
        offset, file = (number - 1) * self._page_size, self._file
        if number in self._pages:
            offset, file = self._pages[number], self._log_file
        if file is None:
            return None
        try:
            file.seek(offset)
            content = file.read(self._page_size)
        except OSError:  # a bad sector must not end the reading of the others
            return None
        return content if len(content) == self._page_size else None

    def records(self) -> Iterator[Record]:
        """All rows and index entries on pages in use, in the order of the pages."""
        for number in range(1, self.page_count + 1):
            page = self.page(number)
            self.missing_pages += page is None
            if page is not None and number not in self._free:
                yield from self._reader.records(page, is_first=number == 1)


def _page_size(header: Header | None, log: Log | None) -> int:
    if header is not None:
        return header.page_size
    return log.page_size if log else USUAL_PAGE_SIZE


@contextlib.contextmanager
def snapshot(path: Path) -> Iterator[Snapshot]:
    """Open what is there of a database; the file or its log may be missing, and nothing changes.

    Raises:
        OSError: A file is there and cannot be opened.
    """
    with contextlib.ExitStack() as stack:

        def opened(each: Path) -> BinaryIO | None:
            # Unbuffered: pages are read in their order once, and a failing sector costs one page.
            return stack.enter_context(each.open("rb", buffering=0)) if each.exists() else None

        log = read_log(path)
        yield Snapshot(opened(path), opened(wal_path(path)), log)
