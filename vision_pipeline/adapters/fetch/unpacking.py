"""Bodies in gzip or zlib form, unpacked within a bound as they arrive."""

from __future__ import annotations

import zlib

from vision_pipeline.core.errors import ErrorCode, ItemError, RetryableError

_MARK_BYTES = 2
_GZIP_MARK = b"\x1f\x8b"
_ZLIB_METHOD, _ZLIB_CHECK = 8, 31  # RFC 1950, 2.2
_ANY_FORM = 47  # gzip or zlib, told by the header (zlib's inflateInit2)


class Packed:
    """A packed body: one stream, or several gzip members one after the other (RFC 1952, 2.2).

    What stands behind a whole one and is none is left out, as gzip itself does.

    Args:
        encoding: How messages name it.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._stream = zlib.decompressobj(_ANY_FORM)
        self._start = b""  # of the present stream
        self._is_first = True
        self._is_over = False

    @property
    def is_whole(self) -> bool:
        """Whether the body may end behind what was taken."""
        return self._stream.eof or self._is_over

    def take(self, piece: bytes, most: int) -> bytes:
        """What comes of the next piece of the body, at most `most` bytes; at least 1.

        Raises:
            ItemError: `unreadable_image`: the body is not packed at all.
            RetryableError: `source_missing`: it is damaged.
        """
        body = b""
        while piece and not self._is_over and len(body) < most:
            if self._stream.eof:
                self._stream = zlib.decompressobj(_ANY_FORM)
                self._start, self._is_first = b"", False
            self._start = (self._start + piece[:_MARK_BYTES])[:_MARK_BYTES]
            body += self._unpacked(piece, most - len(body))
            piece = self._stream.unused_data
        return body

    def _unpacked(self, piece: bytes, most: int) -> bytes:
        try:
            return self._stream.decompress(piece, most)
        except zlib.error as error:
            if _is_packed(self._start):
                detail = f"the {self._encoding} body is damaged: {error}"
                raise RetryableError(ErrorCode.SOURCE_MISSING, detail) from error
            if self._is_first:
                detail = f"the body is not {self._encoding}: {error}"
                raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail) from error
            self._is_over = True
            return b""


def _is_packed(start: bytes) -> bool:
    is_zlib = start[:1] and start[0] & 0xF == _ZLIB_METHOD
    return start == _GZIP_MARK or bool(is_zlib and int.from_bytes(start) % _ZLIB_CHECK == 0)
