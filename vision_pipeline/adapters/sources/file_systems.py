"""Files behind a path or behind a URL that fsspec knows."""

from __future__ import annotations

import re
from typing import IO, Any, Protocol, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from vision_pipeline.core.errors import SourceError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


class FileSystem(Protocol):
    """The part of fsspec's interface that sources use."""

    def ls(self, path: str, *, detail: bool) -> list[dict[str, Any]]:
        """What is directly in a folder."""
        ...

    def info(self, path: str) -> dict[str, Any]:
        """What is known about one path."""
        ...

    def unstrip_protocol(self, name: str) -> str:
        """The full URL of a path."""
        ...

    def open(self, path: str, mode: str, *, compression: str) -> IO[bytes]:
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
        raise SourceError(f"{location}: {error}") from error
    return file_system, str(path)
