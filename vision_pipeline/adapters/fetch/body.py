"""The body of a response, read only as long as it can still become an image within the limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import httpx

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_formats import (
    DECODED_FORMATS,
    PLUGIN_FORMATS,
    is_text,
    recognise,
)

SNIFFED_BYTES = 1024  # every mark of a format that is decoded stands within them

_ANY_ZLIB_FORM = 47  # gzip or zlib, told by the header (zlib's inflateInit2)
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})

# The next piece of the body and how many bytes may come of it, at least 1, to those bytes.
_Unpack = Callable[[bytes, int], bytes]


async def read_image(response: httpx.Response, *, max_bytes: int) -> bytes:
    """The body, unpacked.

    Raises:
        ItemError: `image_too_large` above `max_bytes`, packed or unpacked, without reading where
            the length was announced; `unreadable_image` for an encoding that is not decoded, or
            for a body that begins as none of an image, `unsupported_format` for one that begins
            as an image that is not decoded: both without the rest of the body.
    """
    _refuse_length(response, max_bytes)
    unpack = _unpacker(response)
    body = bytearray()
    received_bytes = 0
    is_judged = False
    async for chunk in response.aiter_raw():
        received_bytes += len(chunk)
        body += unpack(chunk, max_bytes + 1 - len(body))
        # What was received counts too: a packed body may go on for ever and unpack to nothing.
        if max(received_bytes, len(body)) > max_bytes:
            raise _too_large(max_bytes)
        if not is_judged and len(body) >= SNIFFED_BYTES:
            _refuse_other_content(bytes(body))
            is_judged = True
    if not is_judged:
        _refuse_other_content(bytes(body))
    return bytes(body)


def _refuse_length(response: httpx.Response, max_bytes: int) -> None:
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> ItemError:
    return ItemError(ErrorCode.IMAGE_TOO_LARGE, f"more than image.max_source_bytes ({max_bytes})")


def _unpacker(response: httpx.Response) -> _Unpack:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"identity", ""}:
        return lambda chunk, _: chunk
    if encoding not in _PACKED:
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"sent in the encoding {encoding!r}")
    stream = zlib.decompressobj(_ANY_ZLIB_FORM)

    def unpack(chunk: bytes, max_bytes: int) -> bytes:
        try:
            return stream.decompress(chunk, max_bytes)
        except zlib.error as error:
            detail = f"the body is not {encoding}: {error}"
            raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail) from error

    return unpack


def _refuse_other_content(start: bytes) -> None:
    name = recognise(start)
    if name in DECODED_FORMATS | PLUGIN_FORMATS:
        return
    if name is not None:
        detail = f"{name} is not decoded here: convert it to JPEG, PNG or WebP"
        raise ItemError(ErrorCode.UNSUPPORTED_FORMAT, detail)
    if not start:
        what = "is empty"
    elif is_text(start):
        what = "is text/HTML, no image"
    else:
        what = "is no known image format"
    raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"the content {what}")
