"""Cutting metadata out of an image file without touching a compressed pixel.

Each container is walked to its end mark, so that walking also tells a whole file from a cut one.
What stays is an allow-list: a segment that nobody here knows may hold a position or a face.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# Any marker except stuffed bytes, fill bytes and restarts (ITU-T T.81, table B.1).
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_SOI, _EOI, _SOS, _DNL = 0xD8, 0xD9, 0xDA, 0xDC
_APP0, _APP14 = 0xE0, 0xEE
# What decoding needs: frames, tables, scans, restart intervals (T.81, table B.1).
_DECODED_SEGMENTS = frozenset({*range(0xC0, 0xD0), _SOS, 0xDB, 0xDD}) - {0xC8}
_DNL_BYTES = 6  # marker, length, number of lines
_ADOBE_BYTES = 16  # marker, length, name, version, two flags, colour transform
_JFIF_SEGMENT_BYTES = 18  # marker, length and the fields up to the thumbnail's own two sizes

# Chunks that change how pixels look, and the most bytes that they may hold. Animation chunks are
# absent: an animated file is not kept.
_PNG_DECODED = {b"IHDR": 13, b"PLTE": 768, b"tRNS": 256, b"IDAT": 2**31 - 1}
_PNG_BESIDE = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"sBIT": 4, b"bKGD": 6, b"pHYs": 9}
_PNG_END = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
_WEBP_CHUNKS = frozenset({b"VP8X", b"ALPH", b"VP8 ", b"VP8L"})
_WEBP_ANIMATION, _WEBP_METADATA = 0x02, 0x2C  # flags of VP8X: animation; profile, EXIF and XMP

# Photos have some dozens of segments or chunks, PNG files of screenshots some thousands. Files of
# many more are made to keep a reader busy.
_MOST_PIECES = 20_000

_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER, _GIF_CONTROL = 0x21, 0x2C, 0x3B, 0xF9
_GIF_HEADER_BYTES = 13
_GIF_IMAGE_BYTES = 10
_GIF_CONTROL_BYTES = 4  # of its only block


def without_metadata(source: bytes, image_format: str) -> bytes | None:
    """The same image with nothing beside its pixels and their density.

    EXIF and GPS, XMP, IPTC, comments, times, thumbnails, maker notes, content credentials, and
    anything behind the image's end (further pictures of an MPO) are left out; the colour profile
    too, which may name a device and hold any bytes: only files that are sRGB anyway are kept.

    Args:
        source: The encoded file.
        image_format: `JPEG`, `MPO`, `PNG`, `WEBP` or `GIF`.

    Returns:
        The file without metadata, or None where it does not reach its end mark, is animated, has
        more than 20,000 pieces, or is built in a way that this module does not follow.
    """
    try:
        return _WALKS[image_format](source)
    except IndexError:  # a length points behind the end
        return None


def _jpeg(source: bytes) -> bytes | None:
    pieces = [source[:2]]
    at, in_scan = 2, False
    for _ in range(_MOST_PIECES):
        found = _JPEG_MARKER.search(source, at)
        if found is None:
            return None
        if in_scan:
            pieces.append(source[at : found.start()])
        marker = source[found.end() - 1]
        if marker == _EOI:
            return b"".join([*pieces, b"\xff\xd9"])
        at = found.end() + int.from_bytes(source[found.end() : found.end() + 2], "big")
        if at < found.end() + 2 or marker == _SOI:
            return None
        pieces.append(_kept_segment(marker, source[found.start() : at]))
        in_scan = marker == _SOS
    return None


def _kept_segment(marker: int, segment: bytes) -> bytes:
    is_jfif = marker == _APP0 and segment.startswith(b"JFIF\x00", 4)
    if is_jfif and len(segment) >= _JFIF_SEGMENT_BYTES:
        return b"\xff\xe0\x00\x10" + segment[4 : _JFIF_SEGMENT_BYTES - 2] + b"\x00\x00"
    if marker == _APP14 and segment.startswith(b"Adobe", 4):
        bounded = segment[4:_ADOBE_BYTES]
        return segment[:2] + (len(bounded) + 2).to_bytes(2, "big") + bounded
    is_kept = marker in _DECODED_SEGMENTS or (marker == _DNL and len(segment) == _DNL_BYTES)
    return segment if is_kept else b""


def _png(source: bytes) -> bytes | None:
    pieces, at = [source[:8]], 8
    for _ in range(_MOST_PIECES):
        if at + 12 > len(source):
            return None
        name = source[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(source[at : at + 4], "big")
        size = end - at - 12
        if end > len(source) or name == b"acTL" or size > _PNG_DECODED.get(name, size):
            return None
        if name == b"IEND":
            return b"".join([*pieces, _PNG_END])
        if name in _PNG_DECODED or size <= _PNG_BESIDE.get(name, -1):
            pieces.append(source[at:end])
        at = end
    return None


def _webp(source: bytes) -> bytes | None:
    end = 8 + int.from_bytes(source[4:8], "little")
    pieces: list[bytes] = []
    at = 12
    while at + 8 <= end <= len(source) and len(pieces) < _MOST_PIECES:
        name = source[at : at + 4]
        size = int.from_bytes(source[at + 4 : at + 8], "little")
        chunk = source[at : at + 8 + size + size % 2]
        at += len(chunk)
        if name == b"VP8X":
            flags = chunk[8]
            if flags & _WEBP_ANIMATION:
                return None
            chunk = chunk[:8] + bytes([flags & ~_WEBP_METADATA]) + chunk[9:]
        if name in _WEBP_CHUNKS:
            pieces.append(chunk)
    body = b"WEBP" + b"".join(pieces)
    is_whole = bool(pieces) and at >= end - 1  # some writers forget the last padding byte
    return b"RIFF" + len(body).to_bytes(4, "little") + body if is_whole else None


def _gif(source: bytes) -> bytes | None:
    at = _GIF_HEADER_BYTES + _gif_table_bytes(source[10])
    pieces, images = [source[:at]], 0
    while source[at] != _GIF_TRAILER:
        start = at
        if source[at] == _GIF_EXTENSION:
            at = _gif_blocks_end(source, start + 2)
            is_kept = source[start + 1 : start + 3] == bytes([_GIF_CONTROL, _GIF_CONTROL_BYTES])
            if is_kept and at - start > _GIF_CONTROL_BYTES + 4:  # further blocks follow it
                pieces.append(source[start : start + 3 + _GIF_CONTROL_BYTES] + b"\x00")
                is_kept = False
        elif source[at] == _GIF_IMAGE and source[at + 1 : at + 9] == b"\x00" * 4 + source[6:10]:
            is_kept, images = True, images + 1
            at += _GIF_IMAGE_BYTES + _gif_table_bytes(source[at + 9])
            at = _gif_blocks_end(source, at + 1)
        else:
            return None
        if is_kept:
            pieces.append(source[start:at])
    return b"".join([*pieces, b";"]) if images == 1 else None


def _gif_table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks_end(source: bytes, at: int) -> int:
    while source[at]:
        at += 1 + source[at]
    return at + 1


_WALKS: dict[str, Callable[[bytes], bytes | None]] = {
    "JPEG": _jpeg,
    "MPO": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
}
