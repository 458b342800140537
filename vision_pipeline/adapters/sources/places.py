"""What `source.path` names: a folder, an image, an archive, or with a pattern several of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from vision_pipeline.adapters.sources.archives import Archive, archive_at, is_hidden
from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.file_systems import scheme_of
from vision_pipeline.adapters.sources.patterns import Patterns
from vision_pipeline.adapters.sources.references import path_of
from vision_pipeline.adapters.sources.tables import manifest_suffix
from vision_pipeline.adapters.sources.trees import (
    Entry,
    LocalTree,
    RemoteTree,
    Rules,
    Tree,
    is_pattern,
)
from vision_pipeline.core.errors import SourceError

_RECURSIVE = "**"

Images = Callable[[], Iterator[Found]]


class Places:
    """The folders, images and archives of a path, in the order of their names.

    Args:
        path: Local, or a URL that fsspec knows; either may be a pattern with `*`, `?`, `[…]` or
            `**`, unless something has just this name.
        patterns: Which files are taken, of folders and of what a pattern matches.
        follow_links: Whether links that leave the folder are followed.

    Raises:
        SourceError: It is on the web, which has no folders, or no path at all.
    """

    def __init__(self, path: str, patterns: Patterns, *, follow_links: bool) -> None:
        self._scheme = scheme_of(path)
        if self._scheme in {"http", "https"}:
            raise SourceError(
                f"{path}: a web folder or archive cannot be listed; "
                "download it, or name its images in a manifest"
            )
        if "\0" in path:
            raise SourceError(f"source.path: {path!r} has a NUL in it, as no path has")
        self._path = path
        self._patterns = patterns
        self._follow_links = follow_links

    def find(self, counts: Counter[str]) -> list[Images | Archive]:
        """What there is, not yet listed.

        The ids of what a pattern matched begin with its name, also where it is the only match:
        they stay the same when another comes.

        Args:
            counts: Gets what is passed over, now and when the places are listed.

        Raises:
            SourceError: There is no such thing, or it is a manifest or a compressed tar.
        """
        tree = self._tree(Rules(self._patterns.reason_to_skip, self._follow_links, counts))
        named = tree.named()
        if named is None and not is_pattern(self._path):
            raise SourceError(f"{self._path}: there is no such folder or file")
        if (named is None or not named.is_folder) and manifest_suffix(self._path):
            detail = f"{self._path} is a table of images: give it as source.manifest, not as path"
            raise SourceError(detail)
        if named is not None:
            return [_place(named, prefix="")]
        matches = list(tree.matching())
        if not matches:
            raise SourceError(f"{self._path}: nothing matches this pattern")
        return [
            _place(entry, prefix=f"{entry.relative}/")
            for entry in matches
            if self._is_taken(entry, counts)
        ]

    def _tree(self, rules: Rules) -> Tree:
        if self._scheme in {None, "file"}:
            return LocalTree(
                Path(self._path if self._scheme is None else path_of(self._path)), rules
            )
        return RemoteTree(self._path, rules)

    def _is_taken(self, entry: Entry, counts: Counter[str]) -> bool:
        if entry.is_folder and _RECURSIVE in self._path:
            return False  # all that lies in it matches too
        reason = self._reason_to_skip(entry)
        if reason is not None:
            counts[reason] += 1
        return reason is None

    def _reason_to_skip(self, entry: Entry) -> str | None:
        if is_hidden(entry.relative):
            return "hidden"
        if self._patterns.excludes(entry.relative):
            return "excluded"
        if entry.is_folder or archive_at(entry.location, "") is not None:
            return None
        return self._patterns.reason_to_skip(entry.relative)


def _place(entry: Entry, *, prefix: str) -> Images | Archive:
    if entry.is_folder:
        return partial(entry.images, prefix)
    archive = archive_at(entry.location, prefix, entry.version)
    return archive or partial(entry.images, entry.relative)
