"""Documents of several pages: one item a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import IO

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.file_systems import open_hopping, scheme_of
from vision_pipeline.core.errors import ItemError
from vision_pipeline.core.members import leads_home, parse_member
from vision_pipeline.core.tiff import tiff_pages

_PDF_SUFFIX = ".pdf"
_SUFFIXES = (".tif", ".tiff", ".btf", _PDF_SUFFIX)
_DATA_SCHEME = "data:"


class Pages:
    """Tells how many pages a file has, for names that say TIFF or PDF; others are not opened.

    Attributes:
        max_bytes: As given.

    Args:
        max_pages: A document of more stays one item, whose preparation then refuses it.
        max_bytes: A larger file stays one item likewise; no more of a PDF is read.
        count_pages: The number of pages of a PDF. Where it raises an `ItemError`, the file stays
            one item, whose preparation meets the same error.
    """

    def __init__(self, max_pages: int, max_bytes: int, count_pages: Callable[[bytes], int]) -> None:
        self._max_pages = max_pages
        self.max_bytes = max_bytes
        self._count_pages = count_pages

    def of(self, found: Found, content: Callable[[], IO[bytes]] | None = None) -> list[Found]:
        """One for each page, as `a.pdf#page=1`; the file itself where it is a single image.

        What cannot be opened, and what a URL of the web or a `data:` URL leads to, is a single
        image here.

        Args:
            found: A file, or a member of a container.
            content: Opens it, seekable; without it, `found.uri` is opened where it is a path or
                the URL of a store.
        """
        name = _name(found.uri).lower()
        if not name.endswith(_SUFFIXES):
            return [found]
        is_too_large = found.size_bytes is not None and found.size_bytes > self.max_bytes
        opened = content or _opener(found.uri)
        if is_too_large or opened is None:
            return [found]
        is_pdf = name.endswith(_PDF_SUFFIX)
        count = self._pdf_pages(opened) if is_pdf else self._tiff_pages(opened)
        if not 1 < count <= self._max_pages:
            return [found]
        return [
            replace(found, item_id=f"{found.item_id}#page={page}", page=page)
            for page in range(1, count + 1)
        ]

    def _tiff_pages(self, opened: Callable[[], IO[bytes]]) -> int:
        try:
            with opened() as file:
                return len(tiff_pages(file, most=self._max_pages).frames)
        except Exception:  # noqa: BLE001  (each backend has its own)
            return 1

    def _pdf_pages(self, opened: Callable[[], IO[bytes]]) -> int:
        try:
            with opened() as file:
                data = file.read(self.max_bytes + 1)
        except Exception:  # noqa: BLE001  (each backend has its own)
            return 1
        if len(data) > self.max_bytes:
            return 1
        try:
            return self._count_pages(data)
        except ItemError:
            return 1


def _name(uri: str) -> str:
    member = parse_member(uri)
    return uri if member is None else member.name


def _opener(uri: str) -> Callable[[], IO[bytes]] | None:
    is_data = uri[: len(_DATA_SCHEME)].lower() == _DATA_SCHEME
    if is_data or not leads_home(scheme_of(uri), uri):
        return None
    return lambda: open_hopping(uri)
