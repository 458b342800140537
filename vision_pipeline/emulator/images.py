"""Images as they arrive in a request: data URL to bytes, size and, on demand, pixels.

Limits are the vendor's documented ones (vision FAQ, 2026-08). Their error texts are inferred.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pybase64
from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from vision_pipeline.core.tokens import TokenRule
from vision_pipeline.emulator.problems import RefusalError, invalid_file

MAX_IMAGE_BYTES = 10 * 1024 * 1024
MAX_SIDE_PX = 10_000

_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
_BAD_CONTENT = (OSError, SyntaxError, IndexError, TypeError, ValueError, EOFError, struct.error)

# The plugins are named one by one, so that nothing else is ever tried and an image of many pixels
# can be measured: `Image.open` warns of it as a decompression bomb.
_OPENERS: tuple[tuple[bytes, Callable[[io.BytesIO], ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
)


@dataclass(frozen=True, slots=True)
class ReceivedImage:
    """One image of a request: the encoded file, and its size as sent (EXIF not applied)."""

    source: bytes
    width_px: int
    height_px: int

    def pixels(self, rule: TokenRule) -> Image.Image:
        """The RGB image at the size at which the model sees it.

        As in mistral_common: alpha on white, EXIF orientation not applied, scaled down to the
        rule's longest side and never up.

        Raises:
            RefusalError: The image data is damaged.
        """
        try:
            with _open(self.source) as image:
                flat = _on_white(image)
        except _BAD_CONTENT as error:
            raise invalid_file("Image data could not be decoded") from error
        size = rule.scaled(self.width_px, self.height_px)
        return flat if size == flat.size else flat.resize(size, Image.Resampling.BICUBIC)


def receive(url: str, url_images: Mapping[str, bytes]) -> ReceivedImage:
    """Get an image from its address and check it against the documented limits.

    Only the header is decoded, which takes well under a millisecond.

    Raises:
        RefusalError: 400 as the API answers; every `https` address that is not in `url_images`
            cannot be fetched.
    """
    source = _fetched(url, url_images)
    if len(source) > MAX_IMAGE_BYTES:
        raise _too_many_bytes()
    try:
        with _open(source) as image:
            is_moving = image.format == "GIF" and getattr(image, "is_animated", False)
            width_px, height_px = image.size
    except _BAD_CONTENT as error:
        raise invalid_file("Image data could not be decoded") from error
    if is_moving:
        raise invalid_file("Animated GIF images are not supported")
    if max(width_px, height_px) > MAX_SIDE_PX:
        raise invalid_file(
            f"Image of {width_px}x{height_px} pixels exceeds {MAX_SIDE_PX}x{MAX_SIDE_PX}"
        )
    return ReceivedImage(source, width_px, height_px)


def check_count(count: int, *, most: int) -> None:
    """Refuse more images than one request may carry.

    Raises:
        RefusalError: 400.
    """
    if count > most:
        raise invalid_file(f"Too many images in request: {count}, maximum {most}")


def _fetched(url: str, url_images: Mapping[str, bytes]) -> bytes:
    if url.startswith("https"):
        try:
            return url_images[url]
        except KeyError:
            message = f"File could not be fetched from url '{url[:200]}'"
            raise invalid_file(message) from None
    prefix = _DATA_URL.match(url)
    if prefix is None:
        raise invalid_file("Image data could not be decoded")
    payload = url[prefix.end() :]
    if len(payload) > MAX_IMAGE_BYTES * 2:  # spares the decoding of what is far too large
        raise _too_many_bytes()
    try:
        return pybase64.b64decode(payload, validate=True)
    except ValueError as error:
        raise invalid_file("Image data could not be decoded") from error


def _too_many_bytes() -> RefusalError:
    return invalid_file(f"Image exceeds the maximum of {MAX_IMAGE_BYTES} bytes")


def _open(source: bytes) -> ImageFile:
    for signature, opener in _OPENERS:
        if source.startswith(signature):
            return opener(io.BytesIO(source))
    raise invalid_file("Unsupported image format; use PNG, JPEG, WEBP or a still GIF")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image.copy()
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "WHITE")
    white.paste(layer, (0, 0), layer)
    return white.convert("RGB")
