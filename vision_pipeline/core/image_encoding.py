"""Encoding of a finished image for the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Literal

from PIL import Image

from vision_pipeline.core.errors import ErrorCode, ItemError

# Coloured print on coloured ground frays with halved chroma. Who asks for 90 or more wants it
# sharp; below, halving saves about a quarter of the bytes and the loss is no longer the largest.
_FULL_CHROMA_QUALITY = 90
_FULL_CHROMA, _HALVED_CHROMA = 0, 2  # Pillow's numbers for 4:4:4 and 4:2:0

_LOWER_QUALITIES = (80, 65, 50, 35)
_SMALLER = 0.75  # of each side: about half of the bytes
_PNG_LEVEL = 6
_PHOTO_RATIO = 2.0  # photos reach 3 to 10, graphics stay below 1


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes for the wire, and the size in px that they show."""

    media_type: str
    data: bytes = field(repr=False)
    width_px: int
    height_px: int


def encode(
    image: Image.Image,
    target: Literal["auto", "jpeg", "png"],
    *,
    quality: int,
    max_bytes: int,
    is_lossless: bool,
) -> Encoded:
    """Encode an RGB or L image, within `max_bytes` wherever one pixel of it fits them.

    Args:
        image: Upright, at the size wanted.
        target: `auto` is PNG for a lossless source whose PNG is no larger than its JPEG, as flat
            graphics are, and JPEG otherwise.
        quality: JPEG quality, 1 to 95. Lower ones are tried before the image gets smaller.
        max_bytes: The provider's limit for one image.
        is_lossless: Whether the source has no compression artefacts of its own.

    Raises:
        ItemError: `image_too_large` where memory runs out.
    """
    try:
        return _encoded(image, target, quality, max_bytes, is_lossless=is_lossless)
    except (MemoryError, OSError) as error:  # encoders in C have no other reason to fail
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        detail = (
            f"encoding takes more memory than image.max_decode_bytes allows ({cause}); raise it"
        )
        raise ItemError(ErrorCode.IMAGE_TOO_LARGE, detail) from error


def _encoded(
    image: Image.Image,
    target: Literal["auto", "jpeg", "png"],
    quality: int,
    max_bytes: int,
    *,
    is_lossless: bool,
) -> Encoded:
    if target == "png":
        return _within(image, [_png], max_bytes)
    qualities = [quality, *(lower for lower in _LOWER_QUALITIES if lower < quality)]
    jpeg = _within(image, [partial(_jpeg, quality=each) for each in qualities], max_bytes)
    if target == "jpeg" or not is_lossless or _is_photo(image, quality):
        return jpeg
    png = _png(image)
    is_better = len(png.data) <= min(len(jpeg.data), max_bytes)
    return png if is_better else jpeg


def _is_photo(image: Image.Image, quality: int) -> bool:
    """Whether a strip of the middle is so much larger as PNG that the whole need not be tried."""
    width, height = image.size
    strip = image.crop((0, height * 7 // 16, width, height * 9 // 16 + 1))
    return len(_png(strip).data) > _PHOTO_RATIO * len(_jpeg(strip, quality=quality).data)


def _within(
    image: Image.Image, encoders: list[Callable[[Image.Image], Encoded]], max_bytes: int
) -> Encoded:
    """The first of ever smaller encodings that fits, or the last and smallest."""
    encodings = (encoder(sized) for sized in _ever_smaller(image) for encoder in encoders)
    for encoded in encodings:
        if len(encoded.data) <= max_bytes:
            break
    return encoded


def _ever_smaller(image: Image.Image) -> Iterator[Image.Image]:
    yield image
    while max(image.size) > 1:
        width, height = (max(int(side * _SMALLER), 1) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
        yield image


def _jpeg(image: Image.Image, *, quality: int) -> Encoded:
    chroma = _FULL_CHROMA if quality >= _FULL_CHROMA_QUALITY else _HALVED_CHROMA
    written = BytesIO()
    image.save(written, "JPEG", quality=quality, subsampling=chroma)
    return Encoded("image/jpeg", written.getvalue(), *image.size)


def _png(image: Image.Image) -> Encoded:
    written = BytesIO()
    image.save(written, "PNG", compress_level=_PNG_LEVEL)
    return Encoded("image/png", written.getvalue(), *image.size)
