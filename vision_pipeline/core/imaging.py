"""Making an image fit for the model: upright, plain sRGB, within limits, without metadata."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_colour import is_plain, plain, resizable
from vision_pipeline.core.image_decoding import OpenedImage, decoding, load, open_image, verify
from vision_pipeline.core.image_encoding import Encoded, encode
from vision_pipeline.core.metadata import without_metadata
from vision_pipeline.core.records import PreparedImage
from vision_pipeline.core.tokens import TokenRule

_MEBIBYTE = 1024 * 1024

# What the provider takes (Mistral vision FAQ, 2026: PNG, JPEG, WebP, still GIF), by Pillow's name.
_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_FORCED = {"jpeg": {"JPEG", "MPO"}, "png": {"PNG"}, "auto": set(_MEDIA_TYPES)}
_LOSSLESS = frozenset({"PNG", "GIF", "BMP", "TIFF", "ICO", "PPM"})
_PNG_DEPTH_AT = 24  # of IHDR, which comes first (PNG specification, 11.2.1)
_PNG_MAX_DEPTH = 8  # Pillow shows 16-bit colour as 8-bit; what others make of it is not known

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Large images without a fast path in their decoder are first box-reduced to twice the target:
# less than a just visible difference, at half of the time.
_REDUCING_GAP = 2.0


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How images are prepared.

    Attributes:
        max_side_px: Longer side of what is sent, at least 1. 1540 is all that Mistral's models see.
        format: `auto` leaves the choice; the others force every image into that format.
        quality: JPEG quality of what is encoded here, 1 to 95.
        strip_metadata: Cut metadata out of files that are not encoded here. Those that are never
            carry any.
        verify: `full` decodes also what goes out untouched; `structure` only follows its
            container to the end mark.
        max_source_bytes: A larger source is refused.
        max_source_pixels: A source whose header states more is refused before it is decoded.
        max_sent_bytes: The provider's limit for one image; larger ones are compressed harder.
    """

    max_side_px: int = 1540
    format: Literal["auto", "jpeg", "png"] = "auto"
    quality: int = 90
    strip_metadata: bool = True
    verify: Literal["full", "structure"] = "full"
    max_source_bytes: int = 100 * _MEBIBYTE
    max_source_pixels: int = 100_000_000
    max_sent_bytes: int = 10 * _MEBIBYTE

    def scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """The `(width, height)` in px that an upright image of `size` is sent at; never larger."""
        return TokenRule(patch_px=1, max_side_px=self.max_side_px).scaled(*size)


def prepare(source: bytes, settings: ImageSettings) -> PreparedImage:
    """Make one image fit for the model. Costs CPU only: call it in a thread.

    A still JPEG, PNG, WebP or GIF in which nothing has to change keeps its compressed pixels.
    Anything else is turned upright, put on white, converted to sRGB, scaled down and encoded.
    Of several pages or frames the first is taken.

    Args:
        source: The encoded file, whatever it claims to be.
        settings: Limits and wishes.

    Raises:
        ItemError: `unreadable_image` for an empty, damaged or foreign file, `unsupported_format`
            for an image format that is not decoded here, `image_too_large` for a source over
            `max_source_bytes` or `max_source_pixels`.
    """
    if len(source) > settings.max_source_bytes:
        detail = f"{len(source)} bytes are more than max_source_bytes ({settings.max_source_bytes})"
        raise ItemError(ErrorCode.IMAGE_TOO_LARGE, detail)
    opened = open_image(source, max_pixels=settings.max_source_pixels)
    width, height = opened.upright_size
    sent = _untouched(opened, settings) or _redrawn(opened, settings)
    return PreparedImage(
        source_sha256=hashlib.sha256(source).hexdigest(),
        source_bytes=len(source),
        source_format=opened.format,
        source_width_px=width,
        source_height_px=height,
        media_type=sent.media_type,
        data=sent.data,
        width_px=sent.width_px,
        height_px=sent.height_px,
    )


def _untouched(opened: OpenedImage, settings: ImageSettings) -> Encoded | None:
    """The file with its pixels as they are, or None where something has to change.

    Raises:
        ItemError: `unreadable_image`, where `settings.verify` finds that it cannot be decoded.
    """
    if not _may_stay(opened, settings):
        return None
    bare = without_metadata(opened.source, opened.format)
    if bare is None:
        return None
    data = bare if settings.strip_metadata else opened.source
    if len(data) > settings.max_sent_bytes:
        return None
    size = opened.image.size
    if settings.verify == "full":
        verify(opened)
    return Encoded(_MEDIA_TYPES[opened.format], data, *size)


def _may_stay(opened: OpenedImage, settings: ImageSettings) -> bool:
    return (
        opened.format in _FORCED[settings.format]
        and opened.orientation == 1
        and max(opened.image.size) <= settings.max_side_px
        and not (opened.format == "PNG" and opened.source[_PNG_DEPTH_AT] > _PNG_MAX_DEPTH)
        and is_plain(opened.image)
    )


def _redrawn(opened: OpenedImage, settings: ImageSettings) -> Encoded:
    with decoding(opened.format):
        image = _drawn(opened, settings.scaled(opened.upright_size))
    return encode(
        image,
        settings.format,
        quality=settings.quality,
        max_bytes=settings.max_sent_bytes,
        is_lossless=opened.format in _LOSSLESS,
    )


def _drawn(opened: OpenedImage, upright_size: tuple[int, int]) -> Image.Image:
    """The pixels, upright, at `upright_size`, RGB or L, sRGB."""
    image, target = opened.image, opened.stored(upright_size)
    profile = image.info.get("icc_profile")
    box = _shrink_on_load(opened, target)
    load(image)
    image = resizable(image)
    if image.size != target:
        image = image.resize(target, Image.Resampling.LANCZOS, box, _REDUCING_GAP)
    if opened.orientation in _TURNS:
        image = image.transpose(_TURNS[opened.orientation])
    finished = plain(image, profile)
    finished.info = {}  # Pillow would write comments and profiles of the source into the new file
    return finished


def _shrink_on_load(
    opened: OpenedImage, target: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """Let the JPEG decoder skip detail that scaling would drop; never below `target`.

    Returns:
        The part of the decoded image that shows the source, in px: decoders round up.
    """
    drafted = opened.image.draft(None, target)
    return drafted[1] if drafted else None
