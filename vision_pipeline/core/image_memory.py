"""What an image states of its size, for telling damage from too little memory.

Decoders in C say either in the same words, or end the process.
"""

from __future__ import annotations

from vision_pipeline.core.errors import ItemError
from vision_pipeline.core.image_decoding import open_image
from vision_pipeline.core.image_formats import recognise
from vision_pipeline.core.image_settings import ImageSettings

# At the most: a decoder's own planes, what it hands over, and Pillow's copy of that.
_BYTES_PER_PX = 12

_VP8_START = b"\x9d\x01\x2a"
_VP8_SIDE = 0x3FFF


def stated_size(source: bytes, settings: ImageSettings) -> tuple[int, int] | None:
    """`(width, height)` in px as the header states them, or None where it cannot be read."""
    if recognise(source) == "WEBP":  # whose decoder takes the memory when it is opened
        return _webp_size(source)
    try:
        return open_image(
            source,
            max_pixels=settings.max_source_pixels,
            page=1,
            max_pages=settings.max_pages,
            is_header_only=True,
        ).size
    except ItemError:
        return None


def may_exceed(max_bytes: int, *, source_bytes: int, size: tuple[int, int] | None) -> bool:
    """Whether decoding may need more memory than is allowed.

    Args:
        max_bytes: Memory for one image.
        source_bytes: Size of the encoded file, which is held too.
        size: As of `stated_size`.
    """
    width, height = size or (0, 0)
    return source_bytes + width * height * _BYTES_PER_PX > max_bytes


def _webp_size(source: bytes) -> tuple[int, int] | None:
    """From the first chunk (RFC 9649, 2.5 to 2.7, and RFC 6386, 9.1)."""
    name, content = source[12:16], source[20:30]
    if name == b"VP8X":
        wide, high = content[4:7], content[7:10]
        return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1
    if name == b"VP8L":
        bits = int.from_bytes(content[1:5], "little")
        return (bits & _VP8_SIDE) + 1, (bits >> 14 & _VP8_SIDE) + 1
    if content[3:6] != _VP8_START:
        return None
    wide, high = content[6:8], content[8:10]
    return int.from_bytes(wide, "little") & _VP8_SIDE, int.from_bytes(high, "little") & _VP8_SIDE
