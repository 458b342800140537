"""Decoding that accepts no pixels which the decoder made up.

libjpeg fills what a scan lacks with grey and only counts a warning, which Pillow does not pass on.
The same decoder behind simplejpeg stops at the first one; its pixels are Pillow's, bit for bit.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from PIL import Image

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_decoding import OpenedImage, decoding, load
from vision_pipeline.core.metadata import without_metadata

_JPEG = frozenset({"JPEG", "MPO"})
_COLOURS = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}

# libjpeg has numbers for its messages, but only their text comes out (jerror.h, unchanged since
# 1991). Those that are not here tell of odd headers, or are errors, which Pillow raises too.
_LOSSES = ("Corrupt JPEG data: ", "Premature end of JPEG file")
_NO_MEMORY = "Insufficient memory"
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_END, _RESTARTS = 0xD9, range(0xD0, 0xD8)
_BEHIND_SCANS = frozenset({0xC4, 0xDA, _END, *_RESTARTS})  # more tables or scans, the end, restarts
_SCAN = b"\xff\xda"
_RESTART_MARK = re.compile(rb"\xff([\xd0-\xd7])")

# Behind the last pixel, some encoders leave a few bytes and some cameras fill a disk block.
_STRAY_BYTES, _PADDING_BYTES = 3, 4096


def load_strictly(opened: OpenedImage) -> tuple[Image.Image, str]:
    """Decode the pixels, and accept no JPEG of which some are made up.

    Args:
        opened: Perhaps drafted, not decoded.

    Returns:
        The decoded image, and what is to be said of damage that may or may not show, or "".

    Raises:
        ItemError: `unreadable_image` with the decoder's cause, `image_too_large` where memory ran
            out.
    """
    decoded, note = None, ""
    if opened.format in _JPEG:
        with decoding("JPEG"):
            decoded, note = _jpeg(opened.source, opened.image)
    if decoded is None:
        load(opened.image)
    return decoded or opened.image, note


def verify(opened: OpenedImage) -> str:
    """Decode everything, only to see whether it can be decoded; the image is used up.

    Returns:
        As `load_strictly`, what is to be said.

    Raises:
        ItemError: As `load_strictly`.
    """
    opened.image.draft("L", (1, 1))  # entropy decoding finds the damage; pixels are not wanted
    return load_strictly(opened)[1]


def _jpeg(source: bytes, image: Image.Image) -> tuple[Image.Image | None, str]:
    """The pixels at the size and in the mode of `image`, or None where they are Pillow's to decode.

    That is CMYK, whose sense Pillow knows, and what this decoder refuses.

    Raises:
        ItemError: Pixels are lost.
        MemoryError: There is too little memory.
    """
    # Without its metadata, in which bytes may go astray without harm to any pixel.
    stream = without_metadata(source, "JPEG") or source
    try:
        pixels = _decoder().decode_jpeg(
            stream,
            colorspace=_COLOURS[image.mode],
            min_width=image.width,
            min_height=image.height,
        )
    except ValueError as error:
        return None, _judged(str(error), stream)
    if image.mode == "CMYK" or pixels.shape[:2] != image.size[::-1]:
        return None, ""
    return Image.frombuffer(image.mode, image.size, pixels, "raw", image.mode, 0, 1), ""


def _judged(warning: str, stream: bytes) -> str:
    """What is to be said of a warning.

    Raises:
        ItemError: It tells of lost pixels.
        MemoryError: It tells that memory ran out.
    """
    if warning.startswith(_NO_MEMORY):
        raise MemoryError(warning)
    if not warning.startswith(_LOSSES):
        return ""
    left_over = _LEFT_OVER.search(warning)
    if left_over is None:
        raise _lost(warning)
    return _judged_left_over(int(left_over[1]), int(left_over[2], 16), stream, warning)


def _judged_left_over(count: int, marker: int, stream: bytes, warning: str) -> str:
    """As `_judged`, where `count` bytes that no pixel needed stand before a marker."""
    if marker not in _BEHIND_SCANS or (marker == _END and _is_padding(stream, count)):
        return ""
    if marker in _RESTARTS and _restarts_in_order(stream):
        # Each of these marks is a fresh start: the damage stays between two of them.
        return f"its decoder warns: {warning}"
    raise _lost(warning)


def _lost(warning: str) -> ItemError:
    return ItemError(ErrorCode.UNREADABLE_IMAGE, f"damaged JPEG: {warning}")


def _restarts_in_order(stream: bytes) -> bool:
    return all(
        mark[0] == _RESTARTS[number % len(_RESTARTS)]
        for scan in stream.split(_SCAN)
        for number, mark in enumerate(_RESTART_MARK.findall(scan))
    )


def _is_padding(stream: bytes, count: int) -> bool:
    if count <= _STRAY_BYTES:
        return True
    end = stream.rfind(bytes([0xFF, _END]))
    return count <= _PADDING_BYTES and not stream[end - count : end].strip(b"\x00")


def _decoder() -> Any:  # noqa: ANN401  (a module without types)
    """Loaded when the first JPEG file is decoded: it brings NumPy, which takes 0.1 s."""
    return importlib.import_module("simplejpeg")
