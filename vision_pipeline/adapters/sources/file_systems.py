"""Files behind a path or behind a URL that fsspec knows."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import IO, Any, Literal, Protocol, cast, overload
from urllib.parse import unquote_to_bytes, urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.stores import extra_for

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_HOP_BYTES = 256 * 1024  # what one request fetches of a remote file that is read here and there


class FileSystem(Protocol):
    """The part of fsspec's interface that sources use."""

    def ls(self, path: str, *, detail: bool) -> list[dict[str, Any]]:
        """What is directly in a folder."""
        ...

    @overload
    def glob(self, path: str) -> list[str]: ...

    @overload
    def glob(self, path: str, *, detail: Literal[True]) -> dict[str, dict[str, Any]]: ...

    def glob(self, path: str, *, detail: bool = False) -> list[str] | dict[str, dict[str, Any]]:
        """The paths that match a pattern; with `detail`, what is known about each."""
        ...

    def invalidate_cache(self) -> None:
        """Forget listings of before."""
        ...

    def info(self, path: str) -> dict[str, Any]:
        """What is known about one path."""
        ...

    def unstrip_protocol(self, name: str) -> str:
        """The full URL of a path."""
        ...

    def open(
        self, path: str, mode: str, *, compression: str | None = None, block_size: int | None = None
    ) -> IO[bytes]:
        """A file to read."""
        ...


def scheme_of(location: str) -> str | None:
    """The scheme of a URL in lower case, or None for a local path."""
    found = _SCHEME.match(location)
    return found[1].lower() if found else None


def connect(location: str) -> tuple[FileSystem, str]:
    """The file system of a path or URL, and the path there.

    Raises:
        SourceError: The scheme is unknown, or a package for it is missing.
    """
    if scheme_of(location) is None:
        return cast("FileSystem", LocalFileSystem()), location
    try:
        file_system, path = fsspec.core.url_to_fs(location)
    except (ImportError, ValueError) as error:
        raise SourceError(f"{location}: {error}{extra_for(location)}") from error
    return file_system, str(path)


def open_hopping(location: str) -> IO[bytes]:
    """A file to read here and there: a path, a `file:` URL or any that fsspec knows.

    Raises:
        OSError: It is not there or no regular file. Other file systems raise what they please.
        SourceError: As `connect`.
    """
    scheme = scheme_of(location)
    if scheme is None:
        return _open_regular(location)
    if scheme == "file":
        path = unquote_to_bytes(urlsplit(location).path).decode(errors="surrogateescape")
        return _open_regular(path)
    file_system, path = connect(location)
    return file_system.open(path, "rb", block_size=_HOP_BYTES)


def check_regular(path: str) -> None:
    """See that what lies at a local path can be read to an end.

    Raises:
        OSError: It is not there, or is a folder, a pipe or a device.
    """
    # A pipe would block until somebody writes, and opening a device may act on it.
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError("not a regular file")


def _open_regular(path: str) -> IO[bytes]:
    check_regular(path)
    return Path(path).open("rb")
