"""The output folder: files that are there whole or not at all, local or behind a URL."""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from vision_pipeline.core.errors import OutputError, StorageError
from vision_pipeline.core.stores import BUCKETS, extra_for

DRAFT_SUFFIX = ".draft"
_DRAFT_PATTERNS = tuple(
    f"{folder}.*{DRAFT_SUFFIX}" for folder in ("", "manifests/", "runs/", "results/*/")
)
STAGING_NAME = ".compaction"  # as in `parquet/compaction.py`
_TEMPORARY_PREFIX = "vision-pipeline-"
_ABANDONED_S = 24 * 3600.0  # no upload takes that long; those of other processes are younger


class OutputFolder:
    """A folder that holds manifests, results and run files.

    A file is written as a draft, synced and renamed, so that a reader or a later run never sees
    half of one; for a URL the draft is a local file, and its upload makes it appear whole.
    """

    def __init__(self, root: str) -> None:
        """Open a folder; it need not exist.

        Raises:
            OutputError: No file system for that URL.
        """
        try:
            self._fs, path = fsspec.core.url_to_fs(root)
        except (ValueError, ImportError) as error:
            raise OutputError(f"output.path: {root}: {error}{extra_for(root)}") from error
        self.root = str(path).rstrip("/")
        self.is_local = isinstance(self._fs, LocalFileSystem)

    @property
    def filesystem(self) -> Any:  # noqa: ANN401  (fsspec has no types)
        """The fsspec file system behind this folder."""
        return self._fs

    def path(self, name: str) -> str:
        """The full path of a file, as the file system knows it."""
        return posixpath.join(self.root, name)

    def shown(self, name: str = "") -> str:
        """The folder, or a file in it, as a user would write it."""
        path = posixpath.join(self.root, name) if name else self.root
        return path if self.is_local else str(self._fs.unstrip_protocol(path))

    def _make(self, path: str) -> None:
        # A store of buckets has no folders: to make one would be to make a bucket, with a typing
        # error for its name.
        protocol = self._fs.protocol
        if BUCKETS.isdisjoint([protocol] if isinstance(protocol, str) else protocol):
            self._fs.makedirs(path, exist_ok=True)

    def check_writable(self) -> None:
        """Make the folder and try a small file in it.

        Raises:
            OutputError: It cannot be made or written; says why.
        """
        probe = self.path(f".writable{DRAFT_SUFFIX}")
        try:
            self._make(self.root)
            self._fs.pipe_file(probe, b"probe")
            self._fs.rm_file(probe)
        except Exception as error:
            cause = getattr(error, "strerror", None) or error
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
            raise (StorageError if full else OutputError)(
                f"output.path: {self.shown()} cannot be written: {cause}"
            ) from error

    def sweep(self, *, now_s: float) -> int:
        """Remove what killed processes left behind; only for who holds the folder.

        That is drafts in it, what a compaction was working on, and drafts and requests of batch
        jobs among this machine's temporary files that nobody has touched for a day.

        Args:
            now_s: Seconds since 1970.

        Returns:
            How many were removed; one that cannot be is left.
        """
        temporary = Path(tempfile.gettempdir()).glob(f"{_TEMPORARY_PREFIX}*")
        left = [path for path in temporary if _is_abandoned(path, now_s)]
        if self.is_local:
            patterns = (*_DRAFT_PATTERNS, STAGING_NAME)
            left += chain.from_iterable(map(Path(self.root).glob, patterns))
        return sum(map(_removed, left))

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Write a file that appears under its name when the block ends without an error.

        Raises:
            StorageError: The disk is full, the folder is gone, or the store does not take it.
        """
        path = self.path(name)
        try:
            if self.is_local:
                self._make(posixpath.dirname(path))
            with self._draft(path) as draft:
                with draft.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                if self.is_local:
                    _rename(draft, Path(path))
                else:
                    self._upload(draft, name)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error

    def _upload(self, draft: Path, name: str) -> None:
        path = self.path(name)
        try:
            self._make(posixpath.dirname(path))
            self._fs.put_file(str(draft), path)
        except Exception as error:  # each backend has its own
            raise StorageError(f"{self.shown(name)}: cannot be written: {error}") from error

    @contextmanager
    def _draft(self, path: str) -> Iterator[Path]:
        if self.is_local:
            # A leading dot: readers of a whole folder pass it over.
            draft = Path(path).with_name(f".{posixpath.basename(path)}{DRAFT_SUFFIX}")
            try:
                yield draft
            finally:
                draft.unlink(missing_ok=True)
            return
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY_PREFIX) as folder:
            yield Path(folder) / posixpath.basename(path)

    def read_bytes(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: There is none.
            OutputError: The store does not answer.
        """
        with self._reading(name):
            return bytes(self._fs.cat_file(self.path(name)))

    def names(self, folder: str) -> list[str]:
        """Names of the whole files and folders in a folder, sorted; empty where there is none.

        Raises:
            OutputError: The store does not answer.
        """
        try:
            with self._reading(folder):
                self._fs.invalidate_cache()
                paths = self._fs.ls(self.path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (posixpath.basename(str(path).rstrip("/")) for path in paths)
        return sorted(name for name in names if name and not name.endswith(DRAFT_SUFFIX))

    def exists(self, name: str) -> bool:
        """Whether a whole file of that name is there.

        Raises:
            OutputError: The store does not answer.
        """
        with self._reading(name):
            return bool(self._fs.exists(self.path(name)))

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise
        except Exception as error:  # each backend has its own
            raise OutputError(f"{self.shown(name)}: cannot be read: {error}") from error


def _rename(draft: Path, path: Path) -> None:
    draft.replace(path)
    if os.name != "posix":
        return  # pragma: no cover  (only POSIX can sync a folder)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _removed(path: Path) -> bool:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True


def _is_abandoned(folder: Path, now_s: float) -> bool:
    try:
        touched_s = [path.stat().st_mtime for path in (folder, *folder.iterdir())]
        return now_s - max(touched_s) > _ABANDONED_S
    except OSError:
        return False
