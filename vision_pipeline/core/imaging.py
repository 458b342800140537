"""Making an image fit for the model: upright, plain sRGB, within limits, without metadata."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from PIL import Image

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_colour import is_plain
from vision_pipeline.core.image_decoding import (
    OpenedImage,
    check_pages,
    decoding,
    open_image,
)
from vision_pipeline.core.image_drawing import draw
from vision_pipeline.core.image_encoding import Encoded, encode
from vision_pipeline.core.image_formats import recognise
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.metadata import without_metadata
from vision_pipeline.core.pdf import count_pages, draw_page
from vision_pipeline.core.records import PreparedImage
from vision_pipeline.core.strict_decoding import verify

# What the provider takes (Mistral vision FAQ, 2026: PNG, JPEG, WebP, still GIF), by Pillow's name.
_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_FORCED = {"jpeg": {"JPEG", "MPO"}, "png": {"PNG"}, "auto": set(_MEDIA_TYPES)}
_READ_WITHOUT_C = frozenset({"JPEG", "PNG"})  # Pillow reads their headers in Python
_LOSSLESS = frozenset({"PNG", "GIF", "BMP", "TIFF", "ICO", "PPM"})
_PNG_DEPTH_AT = 24  # of IHDR, which comes first (PNG specification, 11.2.1)
_PNG_MAX_DEPTH = 8  # Pillow shows 16-bit colour as 8-bit; what others make of it is not known


def prepare(source: bytes, settings: ImageSettings, *, page: int | None = None) -> PreparedImage:
    """Make one image fit for the model. Costs CPU only; decoders in C read what may be hostile.

    A still JPEG, PNG, WebP or GIF in which nothing has to change keeps its compressed pixels.
    Anything else is turned upright, put on white, converted to sRGB, scaled down and encoded.

    Args:
        source: The encoded file, whatever it claims to be.
        settings: Limits and wishes.
        page: Of a document, which page, from 1; without it the first one, as of an animation the
            first frame, and the result's `note` says so.

    Raises:
        ItemError: `unreadable_image` for an empty, damaged or foreign file or a page that is not
            there, `unsupported_format` for an image format that is not decoded here,
            `image_too_large` for a source over `max_source_bytes`, `max_source_pixels` or
            `max_pages`.
    """
    _check_bytes(source, settings)
    if recognise(source) == "PDF":
        return _from_pdf(source, settings, page)
    opened = _opened(source, settings, page)
    if _may_stay(opened, settings):
        bare = without_metadata(source, opened.format)
        kept = None if bare is None else _kept(opened, settings, bare)
        if kept is not None:
            note = verify(opened) if settings.verify == "full" else ""
            return replace(kept, page=page, note=joined(kept.note, note))
    return _redrawn(opened, settings, page)


def as_it_is(source: bytes, settings: ImageSettings) -> PreparedImage | None:
    """The image with its pixels as they are, where that shows without any decoder in C.

    Its pixels are not decoded, whatever `settings.verify` says: see `check`.

    Returns:
        What to send, or None where something has to change, or more than the header of a JPEG or
        PNG has to be looked at: then `prepare` decides.

    Raises:
        ItemError: As `prepare`.
    """
    _check_bytes(source, settings)
    name = recognise(source)
    if name not in _READ_WITHOUT_C or len(source) > settings.max_sent_bytes:
        return None
    # First the walk that is bounded: Pillow reads as many pieces as there are.
    bare = without_metadata(source, name)
    if bare is None:
        return None
    opened = _opened(source, settings, None, is_header_only=True)
    if opened.image.info.get("icc_profile") or not _may_stay(opened, settings):
        return None
    return _kept(opened, settings, bare)


def check(source: bytes, settings: ImageSettings) -> str:
    """Decode an image, only to see whether that can be done.

    Returns:
        What is to be said of damage that may or may not show, or "".

    Raises:
        ItemError: As `prepare`.
    """
    return verify(_opened(source, settings, None))


def joined(*notes: str) -> str:
    """Notes as one, those that are empty left out."""
    return "; ".join(note for note in notes if note)


def _check_bytes(source: bytes, settings: ImageSettings) -> None:
    if len(source) > settings.max_source_bytes:
        most = settings.max_source_bytes
        detail = f"{len(source)} bytes are more than image.max_source_bytes ({most})"
        raise ItemError(ErrorCode.IMAGE_TOO_LARGE, detail)


def _opened(
    source: bytes, settings: ImageSettings, page: int | None, *, is_header_only: bool = False
) -> OpenedImage:
    return open_image(
        source,
        max_pixels=settings.max_source_pixels,
        page=page,
        max_pages=settings.max_pages,
        is_header_only=is_header_only,
    )


def _kept(opened: OpenedImage, settings: ImageSettings, bare: bytes) -> PreparedImage | None:
    """The file with its pixels as they are, or None where that is too large."""
    data = bare if settings.strip_metadata else opened.source
    if len(data) > settings.max_sent_bytes:
        return None
    sent = Encoded(_MEDIA_TYPES[opened.format], data, *opened.size)
    prepared = _prepared(opened.source, opened.format, opened.upright_size, sent)
    return replace(prepared, note=_note(opened))


def _may_stay(opened: OpenedImage, settings: ImageSettings) -> bool:
    return (
        opened.format in _FORCED[settings.format]
        and opened.orientation == 1
        and settings.sizes.sent(*opened.size) == opened.size
        and not (opened.format == "PNG" and opened.source[_PNG_DEPTH_AT] > _PNG_MAX_DEPTH)
        and is_plain(opened.image)
    )


def _prepared(
    source: bytes, image_format: str, size: tuple[int, int], sent: Encoded
) -> PreparedImage:
    return PreparedImage(
        source_sha256=hashlib.sha256(source).hexdigest(),
        source_bytes=len(source),
        source_format=image_format,
        source_width_px=size[0],
        source_height_px=size[1],
        media_type=sent.media_type,
        data=sent.data,
        width_px=sent.width_px,
        height_px=sent.height_px,
    )


def _note(opened: OpenedImage) -> str:
    """What of the file is not shown."""
    if opened.pages > 1:
        return f"first of {opened.pages} pages"
    if opened.leads_astray:
        return "the only page found; the file points to a further one"
    if opened.format in {"TIFF", "ICO"}:  # further frames are smaller copies
        return ""
    with decoding(opened.format):
        is_several = getattr(opened.image, "is_animated", False)
    if not is_several:
        return ""
    is_still = opened.format in {"MPO", "HEIF"}
    return "first of several pictures" if is_still else "first frame of an animation"


def _from_pdf(source: bytes, settings: ImageSettings, page: int | None) -> PreparedImage:
    count = 1
    if page is None:
        count = count_pages(source)
        check_pages(count, settings.max_pages)
    with decoding("PDF"):
        image, size = draw_page(source, page or 1, sent=lambda scan: settings.sizes.sent(*scan))
    note = f"first of {count} pages" if count > 1 else ""
    prepared = _prepared(source, "PDF", size, _encoded(image, settings, is_lossless=True))
    return replace(prepared, page=page, note=note)


def _redrawn(opened: OpenedImage, settings: ImageSettings, page: int | None) -> PreparedImage:
    size, is_strict = settings.sizes.sent(*opened.upright_size), settings.verify == "full"
    unshown = "" if page is not None else _note(opened)  # first: drawing uses the file up
    with decoding(opened.format):
        image, note = draw(opened, size, is_strict=is_strict)
    sent = _encoded(image, settings, is_lossless=opened.format in _LOSSLESS)
    prepared = _prepared(opened.source, opened.format, opened.upright_size, sent)
    return replace(prepared, page=page, note=joined(unshown, note))


def _encoded(image: Image.Image, settings: ImageSettings, *, is_lossless: bool) -> Encoded:
    return encode(
        image,
        settings.format,
        quality=settings.quality,
        max_bytes=settings.max_sent_bytes,
        is_lossless=is_lossless,
    )
