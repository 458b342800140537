"""Pages of PDF documents as images, by PDFium where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_formats import FORMATS_HINT, PLUGIN_PACKAGES

# A page has no pixels of its own: its size is stated as a scan of it would have it.
_SCAN_DPI, _POINTS_PER_INCH = 300, 72

Size = tuple[int, int]


def count_pages(source: bytes) -> int:
    """How many pages a PDF has.

    Not safe in threads, as all of PDFium: one call at a time in a process.

    Raises:
        ItemError: `unreadable_image` for a damaged or encrypted document, `unsupported_format`
            where PDFium is not installed.
    """
    with _opened(source) as document:
        return len(document)


def draw_page(
    source: bytes, page: int, *, sent: Callable[[Size], Size]
) -> tuple[Image.Image, Size]:
    """Draw one page at the size that it is sent at, on white, with form fields filled in.

    Args:
        source: The document.
        page: Which page, from 1.
        sent: The size to draw, for that of the page as a scan at 300 dpi.

    Returns:
        The RGB or L image, and the page's size as such a scan, `(width, height)` in px.

    Raises:
        ItemError: As `count_pages`, and `unreadable_image` where there is no such page.
    """
    with _opened(source) as document:
        if not 1 <= page <= len(document):
            detail = f"there is no page {page}: the file has {len(document)}, counted from 1"
            raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail)
        document.init_forms()
        shown = document[page - 1]
        points = shown.get_size()
        scan = _scanned(points)
        size = sent(scan)
        # By the side that is enlarged more, so that rounding never leaves the page short.
        scale = max(size[0] / points[0], size[1] / points[1])
        drawn = shown.render(scale=scale, rev_byteorder=True).to_pil()
        image = drawn.crop((0, 0, *size))
        return (image if image.mode == "L" else image.convert("RGB")), scan


def _scanned(points: tuple[float, float]) -> Size:
    width, height = (max(round(side * _SCAN_DPI / _POINTS_PER_INCH), 1) for side in points)
    return width, height


@contextmanager
def _opened(source: bytes) -> Iterator[Any]:
    """The document, with whatever PDFium says of it as an `ItemError`."""
    pdfium = _pdfium()
    try:
        document = pdfium.PdfDocument(source)
    except pdfium.PdfiumError as error:
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"PDF: {_plain(error)}") from error
    try:
        yield document
    except pdfium.PdfiumError as error:
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"damaged PDF: {_plain(error)}") from error
    finally:
        document.close()


def _pdfium() -> Any:  # noqa: ANN401  (optional, and without types here)
    try:
        return importlib.import_module(PLUGIN_PACKAGES["PDF"])
    except ImportError as error:
        detail = f"PDF is not decoded here: {FORMATS_HINT}"
        raise ItemError(ErrorCode.UNSUPPORTED_FORMAT, detail) from error


def _plain(error: Exception) -> str:
    text = str(error)
    return "it is encrypted, and its password is not known" if "assword" in text else text
