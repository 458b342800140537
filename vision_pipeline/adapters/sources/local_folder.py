"""Walking a local folder: names in order, hidden ones and links that leave it left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.members import readable


def local_uri(path: str) -> str:
    """A path as it can stand in a table: a `file:` URL where the name is not valid UTF-8."""
    return path if readable(path) == path else Path(path).as_uri()


def local_image(path: str, item_id: str) -> Found:
    """What `stat` says about a file; a missing one has no size and no version."""
    try:
        # A Path costs 20 µs, the call 3: for a million names that is 20 s.
        stat = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return Found(item_id, local_uri(path))
    return Found(item_id, local_uri(path), stat.st_size, str(stat.st_mtime_ns))


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    prefix: str


class LocalWalk:
    """One walk through a local folder, depth first, names sorted within each folder.

    Holds the names of the folders on the way down, never the list of all files.

    Args:
        root: Absolute.
        follow_links: Whether links that leave `root` are followed.
        reason_to_skip: For a relative path, the name under which to count it, or None to take it.
        counts: Gets `hidden`, `outside` (links that leave the root), `repeated` (links to folders
            that are listed anyway), `unreadable_folders` and what `reason_to_skip` says.
    """

    def __init__(
        self,
        root: Path,
        *,
        follow_links: bool,
        reason_to_skip: Callable[[str], str | None],
        counts: Counter[str],
    ) -> None:
        self._root = root
        self._real_root = root.resolve()
        self._follow_links = follow_links
        self._reason_to_skip = reason_to_skip
        self._counts = counts
        self._followed: set[tuple[int, int]] = set()

    def images(self, prefix: str = "") -> Iterator[Found]:
        """The files that are taken.

        Args:
            prefix: What their relative paths begin with.

        Raises:
            SourceError: The root itself cannot be read.
        """
        try:
            os.scandir(self._root).close()
        except OSError as error:
            raise SourceError(f"{self._root}: cannot be listed: {error.strerror}") from error
        # A stack of its own: folders may be nested deeper than Python's calls.
        inside = [self._entries(_Folder(str(self._root), prefix))]
        while inside:
            entry = next(inside[-1], None)
            if entry is None:
                inside.pop()
            elif isinstance(entry, _Folder):
                inside.append(self._entries(entry))
            else:
                yield entry

    def _entries(self, folder: _Folder) -> Iterator[Found | _Folder]:
        path, prefix = folder.path, folder.prefix
        try:
            names, folders, links = _listed(path)
        except OSError:
            self._counts["unreadable_folders"] += 1
            return
        for name in names:
            full, relative = f"{path.rstrip('/')}/{name}", prefix + _distinct(name, names)
            if name.startswith("."):
                self._counts["hidden"] += 1
            elif name in links:
                yield from self._link(full, relative)
            elif name in folders:
                yield _Folder(full, f"{relative}/")
            else:
                yield from self._file(full, relative)

    def _file(self, path: str, relative: str) -> Iterator[Found]:
        reason = self._reason_to_skip(relative)
        if reason is None:
            yield local_image(path, relative)
        else:
            self._counts[reason] += 1

    def _link(self, path: str, relative: str) -> Iterator[Found | _Folder]:
        try:
            target = Path(path).resolve()
        except (OSError, RuntimeError):  # a link to itself: an item, and it will be missing
            yield from self._file(path, relative)
            return
        is_outside = not target.is_relative_to(self._real_root)
        if is_outside and not self._follow_links:
            self._counts["outside"] += 1
        elif not target.is_dir():
            yield from self._file(path, relative)
        elif is_outside and self._is_first_visit(target):
            yield _Folder(path, f"{relative}/")
        else:
            self._counts["repeated"] += 1

    def _is_first_visit(self, folder: Path) -> bool:
        """Whether following a link to `folder` neither repeats one nor leads round to the root."""
        stat = folder.stat()
        key = (stat.st_dev, stat.st_ino)
        is_first = key not in self._followed and not self._real_root.is_relative_to(folder)
        self._followed.add(key)
        return is_first


def _listed(path: str) -> tuple[list[str], set[str], set[str]]:
    """Sorted names, and which of them are folders and links."""
    names, folders, links = [], set(), set()
    with os.scandir(path) as entries:
        for entry in entries:
            names.append(entry.name)
            if entry.is_symlink():
                links.add(entry.name)
            elif entry.is_dir():
                folders.add(entry.name)
    names.sort()
    return names, folders, links


def _distinct(name: str, siblings: Collection[str]) -> str:
    """A name as text, unlike any sibling's where it had to be changed."""
    text = readable(name)
    while text != name and text in siblings:
        text = f"~{text}"  # not behind: the suffix says that it is an image
    return text
