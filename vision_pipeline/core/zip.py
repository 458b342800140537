"""Reading members of zip archives within a bound, whatever their directory says of them."""

from __future__ import annotations

import bz2
import copy
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import cast

# What `zipfile` raises on archives that were damaged, by accident or on purpose.
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    ValueError,
)
_IS_ENCRYPTED = 0x1
_PIECE_BYTES = 512  # of LZMA, which inflates all that it is given at once: to 4 MB at the very most
_BZIP2_BYTES = 64 * 1024
_WITH_BOUND = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


def is_encrypted(member: zipfile.ZipInfo) -> bool:
    """Whether reading the member takes a password."""
    return bool(member.flag_bits & _IS_ENCRYPTED)


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, most: int) -> bytes:
    """The member's content, no more than `most` bytes of it.

    Content that is read to its end has the size and the CRC that the directory states.

    Raises:
        Exception: One of `ZIP_DAMAGE`; `RuntimeError` for an encrypted member; and what the
            archive's file raises.
    """
    # One byte more than is stated tells content that goes on; the rest of it need not be inflated.
    most = min(most, member.file_size + 1)
    if member.compress_type == zipfile.ZIP_BZIP2:
        data = _bzip2(archive, member, most)
    else:
        with cast("zipfile.ZipExtFile", archive.open(member)) as file:
            is_bounded = member.compress_type in _WITH_BOUND
            data = file.read(most) if is_bounded else b"".join(_pieces(file, most))[:most]
    if len(data) < min(most, member.file_size):
        detail = f"{len(data)} bytes where the directory states {member.file_size}"
        raise zipfile.BadZipFile(detail)
    return data


def _bzip2(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """As `zipfile` reads it, but 50 bytes of bzip2 may inflate to 45 MB, all of which it takes."""
    stored = copy.copy(member)
    stored.compress_type, stored.file_size = zipfile.ZIP_STORED, member.compress_size
    del stored.CRC
    decompressor = bz2.BZ2Decompressor()
    most = min(most, member.file_size)
    data = bytearray()
    with archive.open(stored) as file:
        while len(data) < most and not decompressor.eof:
            packed = file.read(_BZIP2_BYTES) if decompressor.needs_input else b""
            if decompressor.needs_input and not packed:
                break
            try:
                data += decompressor.decompress(packed, most - len(data))
            except OSError as error:
                raise zipfile.BadZipFile(f"bzip2: {error}") from error
    if len(data) == member.file_size and zlib.crc32(data) != member.CRC:
        raise zipfile.BadZipFile("bad CRC")
    return bytes(data)


def _pieces(file: zipfile.ZipExtFile, most: int) -> Iterator[bytes]:
    file.MIN_READ_SIZE = _PIECE_BYTES
    left = most
    while left > 0 and (piece := file.read1(_PIECE_BYTES)):
        left -= len(piece)
        yield piece
