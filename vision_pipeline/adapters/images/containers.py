"""The files that hold many images: on this machine or behind a URL that fsspec knows."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast
from urllib.parse import unquote_to_bytes, urlsplit

import fsspec

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.tar import DamagedTarError
from vision_pipeline.core.zip import ZIP_DAMAGE

_FILE_SCHEME = "file://"

Stamp = tuple[int, int] | None


@contextmanager
def explained() -> Iterator[None]:
    """Whatever reading a container raises as an `ItemError`.

    That is `unreadable_image` where the container is damaged, else `source_missing`.
    """
    try:
        yield
    except ItemError:
        raise
    except (*ZIP_DAMAGE, DamagedTarError) as error:
        detail = f"the archive is damaged: {type(error).__name__}: {error}"
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail) from error
    except Exception as error:  # the operating system's, each file system's own
        detail = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise ItemError(ErrorCode.SOURCE_MISSING, f"archive: {detail}") from error


def open_container(location: str) -> IO[bytes]:
    """The file, to read here and there.

    Raises:
        OSError: It is not there or no regular file. Other file systems raise what they please.
    """
    path = _local_path(location)
    if path is not None:
        _check_regular(path)
        return Path(path).open("rb")
    file_system, remote_path = fsspec.core.url_to_fs(location)
    return cast("IO[bytes]", file_system.open(remote_path, "rb"))


def read_range(location: str, start: int, size: int) -> bytes:
    """At most `size` bytes from `start` on, in one request.

    Raises:
        OSError: As `open_container`.
    """
    if _local_path(location) is not None:
        with open_container(location) as file:
            file.seek(start)
            return file.read(size)
    file_system, path = fsspec.core.url_to_fs(location)
    return bytes(file_system.cat_file(path, start=start, end=start + size))


def stamp_of(location: str) -> Stamp:
    """Size and time of change, which tell a changed file; None where that takes a request.

    Raises:
        OSError: It is not there or no regular file.
    """
    path = _local_path(location)
    if path is None:
        return None
    known = _check_regular(path)
    return known.st_size, known.st_mtime_ns


def _local_path(location: str) -> str | None:
    if location[: len(_FILE_SCHEME)].lower() == _FILE_SCHEME:
        return os.fsdecode(unquote_to_bytes(urlsplit(location).path))
    return None if "://" in location else location


def _check_regular(path: str) -> os.stat_result:
    # A pipe would block until somebody writes, and opening a device may act on it.
    known = Path(path).stat()
    if not stat.S_ISREG(known.st_mode):
        raise OSError(None, "not a regular file", path)
    return known
