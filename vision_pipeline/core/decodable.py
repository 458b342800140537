"""What of an image file a decoder gets to read: the pixels, and what tells how to show them.

Metadata that say nothing of that are left out before a decoder sees them, for one of two reasons:
it refuses a sound image for the size of a comment, or it takes minutes over many thousands of them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

_EXIF_HEAD = b"Exif\x00\x00"
# Exif fits one segment of 64 KiB; Pillow joins further ones, copying all that it has each time.
_MOST_EXIF_SEGMENTS = 8
_MARKER, _APP1, _SOS, _EOI = 0xFF, 0xE1, 0xDA, 0xD9

_PNG_START = 8
_MOST_INFLATED_BYTES = 1024 * 1024  # Pillow refuses more; orientations stand in a few kilobytes
_MOST_PROFILE_BYTES = 16 * 1024 * 1024  # printers' tables take 2 or 3 MB
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PROFILE = b"iCCP"
_TELLING_KEYS = frozenset(
    {b"XML:com.adobe.xmp", b"Raw profile type exif"}
)  # an orientation may stand there


@dataclass(frozen=True, slots=True)
class Decodable:
    """A file for a decoder.

    Attributes:
        data: The encoded file; the very same object where nothing had to go.
        profile: The colour profile, where it had to go though it counts, or None.
    """

    data: bytes
    profile: bytes | None = None


def decodable(source: bytes, image_format: str) -> Decodable:
    """The file without metadata that its decoder would stumble over.

    Args:
        source: The encoded file; a damaged one stays as it is from the damage on.
        image_format: Any; only JPEG and PNG have such metadata.
    """
    if image_format == "JPEG":
        return Decodable(_jpeg(source))
    return _png(source) if image_format == "PNG" else Decodable(source)


def _jpeg(source: bytes) -> bytes:
    """With the first few Exif segments before the pixels; Pillow reads no others."""
    spans, at, exif_segments = _Spans(source), 2, 0
    while at + 4 <= len(source) and source[at] == _MARKER:
        marker = source[at + 1]
        if marker in {_SOS, _EOI}:
            break
        end = at + 2 + int.from_bytes(source[at + 2 : at + 4], "big")
        if marker == _MARKER:  # a fill byte
            end = at + 1
        elif marker == _APP1 and source.startswith(_EXIF_HEAD, at + 4):
            exif_segments += 1
            if exif_segments > _MOST_EXIF_SEGMENTS:
                spans.drop(at, end)
        at = end
    return spans.kept()


def _png(source: bytes) -> Decodable:
    spans, at, seen, profile = _Spans(source), _PNG_START, set[bytes](), None
    while at + 12 <= len(source):
        name, start = source[at + 4 : at + 8], at + 8
        end = start + int.from_bytes(source[at : at + 4], "big") + 4
        if name == _PROFILE or name in _TEXTS:
            key = name if name == _PROFILE else source[start : start + 80].split(b"\x00")[0]
            content = source[start : end - 4]
            is_new = key not in seen
            seen.add(key)
            if not (is_new and _is_telling(key, name, content)):
                spans.drop(at, end)
                if is_new and name == _PROFILE:
                    profile = _inflated(_compressed(name, content), _MOST_PROFILE_BYTES)
        at = end
    return Decodable(spans.kept(), profile)


def _is_telling(key: bytes, name: bytes, content: bytes) -> bool:
    """Whether a decoder should read a chunk of text or profile, and does not find it too large."""
    if name != _PROFILE and key not in _TELLING_KEYS:
        return False
    compressed = _compressed(name, content)
    if compressed is None:
        return len(content) <= _MOST_INFLATED_BYTES
    return _inflated(compressed, _MOST_INFLATED_BYTES) is not None


def _compressed(name: bytes, content: bytes) -> bytes | None:
    """The part of a chunk that is compressed, or None (PNG specification, 11.3.2 and 11.3.3)."""
    _, _, rest = content.partition(b"\x00")
    if name == b"iTXt":
        if rest[:1] != b"\x01":
            return None
        return rest[2:].split(b"\x00", 2)[-1]  # behind language and translated keyword
    return None if name == b"tEXt" else rest[1:]


def _inflated(compressed: bytes | None, most: int) -> bytes | None:
    """What was compressed, or None where it is more than `most` bytes; nothing where it is damaged.

    Of damage, the decoder is the judge.
    """
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(compressed or b"", most + 1)
    except zlib.error:
        return b""
    return inflated if len(inflated) <= most else None


class _Spans:
    """The bytes of a file between those that are dropped from it, in order."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._pieces: list[memoryview] = []
        self._at = 0

    def drop(self, start: int, end: int) -> None:
        """Leave these out; not before those left out so far."""
        self._pieces.append(memoryview(self._source)[self._at : start])
        self._at = end

    def kept(self) -> bytes:
        """The rest; the very same object where nothing was dropped."""
        if not self._at:
            return self._source
        return b"".join([*self._pieces, memoryview(self._source)[self._at :]])
