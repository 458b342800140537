"""Walking a folder of an object store or another file system that fsspec knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.file_systems import FileSystem
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.stores import version_of


def remote_image(file_system: FileSystem, info: Mapping[str, Any], item_id: str) -> Found:
    """What a listing says about a file; its version is the ETag or else the time of change."""
    size = info.get("size")
    uri = file_system.unstrip_protocol(str(info["name"]))
    return Found(item_id, uri, None if size is None else int(size), version_of(info))


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    prefix: str


class RemoteWalk:
    """One walk through a folder behind a URL, depth first, names sorted within each folder.

    Holds one folder's listing for each level on the way down, as fsspec gives it.

    Args:
        file_system: Where the folder is.
        root: Its path there.
        reason_to_skip: For a relative path, the name under which to count it, or None to take it.
        counts: Gets `hidden`, `unreadable_folders` and what `reason_to_skip` says.
    """

    def __init__(
        self,
        file_system: FileSystem,
        root: str,
        *,
        reason_to_skip: Callable[[str], str | None],
        counts: Counter[str],
    ) -> None:
        self._file_system = file_system
        self._root = root.rstrip("/")
        self._reason_to_skip = reason_to_skip
        self._counts = counts

    def images(self, prefix: str = "") -> Iterator[Found]:
        """The files that are taken.

        Args:
            prefix: What their relative paths begin with.

        Raises:
            SourceError: The root itself cannot be listed.
        """
        # A stack of its own: folders may be nested deeper than Python's calls.
        inside = [self._entries(self._listed(self._root), prefix)]
        while inside:
            entry = next(inside[-1], None)
            if entry is None:
                inside.pop()
            elif isinstance(entry, _Folder):
                inside.append(self._entries(self._listed_or_counted(entry.path), entry.prefix))
            else:
                yield entry

    def _entries(
        self, entries: list[tuple[str, dict[str, Any]]], prefix: str
    ) -> Iterator[Found | _Folder]:
        for name, info in entries:
            relative = prefix + name
            if name.startswith("."):
                self._counts["hidden"] += 1
            elif info["type"] == "directory":
                yield _Folder(str(info["name"]), f"{relative}/")
            elif (reason := self._reason_to_skip(relative)) is not None:
                self._counts[reason] += 1
            else:
                yield remote_image(self._file_system, info, relative)

    def _listed_or_counted(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        try:
            return self._listed(path)
        except SourceError:
            self._counts["unreadable_folders"] += 1
            return []

    def _listed(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        try:
            entries = self._file_system.ls(path, detail=True)
        except Exception as error:  # each backend has its own
            raise SourceError(f"{path}: cannot be listed: {error}") from error
        # Object stores list an empty marker object under the folder's own name.
        inside = [each for each in entries if str(each["name"]).strip("/") != path.strip("/")]
        named = [(str(each["name"]).rstrip("/").rpartition("/")[2], each) for each in inside]
        return sorted(named, key=lambda pair: pair[0])
