"""The body of a response, read only as long as it can still become an image within the limit."""

from __future__ import annotations

from typing import Protocol

import httpx

from vision_pipeline.adapters.fetch.unpacking import Packed
from vision_pipeline.core.errors import ErrorCode, ItemError, RetryableError
from vision_pipeline.core.image_formats import (
    DECODED_FORMATS,
    PLUGIN_FORMATS,
    is_text,
    recognise,
)

SNIFFED_BYTES = 1024  # every mark of a format that is decoded stands within them

_PACKED = frozenset({"gzip", "x-gzip", "deflate"})


class _Form(Protocol):
    """The form in which a body is sent.

    Attributes:
        is_whole: Whether it may end behind what was taken.
    """

    @property
    def is_whole(self) -> bool: ...

    def take(self, piece: bytes, most: int) -> bytes:
        """What comes of the next piece, at most so many bytes, of which there is at least 1."""
        ...


class _Plain:
    is_whole = True  # the client counts the bytes

    def take(self, piece: bytes, _: int) -> bytes:
        return piece


async def read_image(response: httpx.Response, *, max_bytes: int) -> bytes:
    """The body, unpacked.

    Raises:
        ItemError: `image_too_large` above `max_bytes`, packed or unpacked, without reading where
            the length was announced; `unreadable_image` for an encoding that is not decoded, or
            for a body that begins as none of an image, `unsupported_format` for one that begins
            as an image that is not decoded: both without the rest of the body.
        RetryableError: `source_missing` for a packed body that was cut or damaged on the way.
    """
    _refuse_length(response, max_bytes)
    form = _form(response)
    body = bytearray()
    received_bytes = 0
    is_judged = False
    async for chunk in response.aiter_raw():
        received_bytes += len(chunk)
        body += form.take(chunk, max_bytes + 1 - len(body))
        # What was received counts too: a packed body may go on for ever and unpack to nothing.
        if max(received_bytes, len(body)) > max_bytes:
            raise _too_large(max_bytes)
        if not is_judged and len(body) >= SNIFFED_BYTES:
            _refuse_other_content(bytes(body))
            is_judged = True
    if received_bytes and not form.is_whole:
        raise RetryableError(ErrorCode.SOURCE_MISSING, "the packed body is cut off")
    if not is_judged:
        _refuse_other_content(bytes(body))
    return bytes(body)


def _refuse_length(response: httpx.Response, max_bytes: int) -> None:
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> ItemError:
    return ItemError(ErrorCode.IMAGE_TOO_LARGE, f"more than image.max_source_bytes ({max_bytes})")


def _form(response: httpx.Response) -> _Form:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"identity", ""}:
        return _Plain()
    if encoding not in _PACKED:
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"sent in the encoding {encoding!r}")
    return Packed(encoding)


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
