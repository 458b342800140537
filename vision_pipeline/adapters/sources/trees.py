"""Files and folders under a path, local or remote, by their name or by a pattern."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.file_systems import FileSystem, connect, scheme_of
from vision_pipeline.adapters.sources.local_folder import LocalWalk, local_image, local_uri
from vision_pipeline.adapters.sources.references import path_of
from vision_pipeline.adapters.sources.remote_folder import RemoteWalk, remote_image
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.members import readable

_WILD = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder or a file.

    Attributes:
        location: Absolute path or URL.
        relative: Its path below the folder that was asked for, or its name.
        is_folder: Whether it is one.
        images: Of a folder, its images under ids that begin with the argument; of a file, itself
            under the argument as its id.
    """

    location: str
    relative: str
    is_folder: bool
    images: Callable[[str], Iterator[Found]]

    @property
    def version(self) -> str:
        """Of a file, what tells a changed one from the same one."""
        return next(self.images("")).version


@dataclass(frozen=True, slots=True)
class Rules:
    """How folders are walked.

    Attributes:
        reason_to_skip: For a relative path, the name under which to count it, or None to take it.
        follow_links: Whether links that leave a folder are followed.
        counts: Gets what is passed over, by reason.
    """

    reason_to_skip: Callable[[str], str | None]
    follow_links: bool
    counts: Counter[str]


class Tree(Protocol):
    """A path in some file system, which may be a pattern with `*`, `?`, `[…]` or `**`."""

    def named(self) -> Entry | None:
        """What has exactly this name, or None."""
        ...

    def matching(self) -> Iterator[Entry]:
        """What matches the path as a pattern, in the order of names.

        Raises:
            SourceError: The file system cannot tell.
        """
        ...


def is_pattern(path: str) -> bool:
    """Whether a path may stand for several."""
    return _WILD.search(path) is not None


def local_root(path: str) -> Path | None:
    """What holds all that a path or pattern names, links resolved; None for what is not local."""
    scheme = scheme_of(path)
    if scheme not in {None, "file"}:
        return None
    named = Path(path if scheme is None else path_of(path))
    return (named if named.exists() or not is_pattern(str(named)) else _base(named)).resolve()


class LocalTree:
    """A `Tree` on this machine."""

    def __init__(self, path: Path, rules: Rules) -> None:
        # Without "..", which may only be taken out together with links.
        self._root = path.resolve() if ".." in path.parts else path.absolute()
        self._rules = rules

    def named(self) -> Entry | None:
        """As in `Tree`."""
        root = self._root
        return self._entry(root, root.name) if root.is_file() or root.is_dir() else None

    def matching(self) -> Iterator[Entry]:
        """As in `Tree`; links that leave the folder in front of the pattern are counted.

        Raises:
            SourceError: Folders are nested deeper than `**` reaches.
        """
        base = _base(self._root)
        real = base.resolve()
        try:
            names = sorted(glob.glob(str(self._root), recursive=True))  # noqa: PTH207  (no hidden)
        except RecursionError as error:
            detail = f"{base}: its folders are nested too deep for a pattern with **"
            advice = "give the folder as source.path, and the pattern as source.include"
            raise SourceError(f"{detail}; {advice}") from error
        for path in map(Path, names):
            if self._rules.follow_links or _is_inside(path, real):
                yield self._entry(path, str(path.relative_to(base)))
            else:
                self._rules.counts["outside"] += 1

    def _entry(self, path: Path, relative: str) -> Entry:
        location, relative = str(path), readable(relative)
        if not path.is_dir():
            return Entry(local_uri(location), relative, is_folder=False, images=_local(location))
        walk = LocalWalk(
            path,
            follow_links=self._rules.follow_links,
            reason_to_skip=self._rules.reason_to_skip,
            counts=self._rules.counts,
        )
        return Entry(location, relative, is_folder=True, images=walk.images)


class RemoteTree:
    """A `Tree` behind a URL.

    Raises:
        SourceError: The scheme is unknown, or a package for it is missing.
    """

    def __init__(self, url: str, rules: Rules) -> None:
        self._url = url
        self._file_system, self._root = connect(url)
        self._file_system.invalidate_cache()  # an earlier run of this process may have listed it
        self._rules = rules

    def named(self) -> Entry | None:
        """As in `Tree`.

        Raises:
            SourceError: There is nothing, and the path is no pattern.
        """
        try:
            info = self._file_system.info(self._root)
        except Exception as error:  # each backend has its own
            if is_pattern(self._root):
                return None
            detail = f"{self._url}: there is no such folder or file ({error})"
            raise SourceError(detail) from error
        return self._entry(self._root, info, self._root.rstrip("/").rpartition("/")[2])

    def matching(self) -> Iterator[Entry]:
        """As in `Tree`."""
        try:
            matches = self._file_system.glob(self._root, detail=True)
        except Exception as error:  # each backend has its own
            raise SourceError(f"{self._url}: cannot be listed: {error}") from error
        base = _fixed(self._root).strip("/")
        for path in sorted(matches):
            relative = path.strip("/").removeprefix(base).strip("/")
            yield self._entry(path, matches[path], relative)

    def _entry(self, path: str, info: dict[str, Any], relative: str) -> Entry:
        location = self._file_system.unstrip_protocol(str(info["name"]))
        if info["type"] == "directory":
            walk = RemoteWalk(
                self._file_system,
                path,
                reason_to_skip=self._rules.reason_to_skip,
                counts=self._rules.counts,
            )
            return Entry(location, relative, is_folder=True, images=walk.images)
        return Entry(location, relative, is_folder=False, images=_remote(self._file_system, info))


def _local(path: str) -> Callable[[str], Iterator[Found]]:
    return lambda item_id: iter([local_image(path, item_id)])


def _remote(file_system: FileSystem, info: dict[str, Any]) -> Callable[[str], Iterator[Found]]:
    return lambda item_id: iter([remote_image(file_system, info, item_id)])


def _base(pattern: Path) -> Path:
    return Path(_fixed(str(pattern.absolute())))


def _fixed(pattern: str) -> str:
    """The folder in front of the first part that is a pattern."""
    first = _WILD.search(pattern)
    end = len(pattern) if first is None else first.start()
    return pattern[:end].rpartition("/")[0] or "/"


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder)
    except (OSError, RuntimeError):  # a link to itself: an item, and it will be missing
        return True
