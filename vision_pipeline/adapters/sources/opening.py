"""Choosing the source that a configuration names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypedDict, Unpack

import pyarrow as pa

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.file_systems import connect, scheme_of
from vision_pipeline.adapters.sources.folder import FolderSource
from vision_pipeline.adapters.sources.local_folder import LocalWalk, local_image
from vision_pipeline.adapters.sources.manifest import ManifestColumns, ManifestSource
from vision_pipeline.adapters.sources.references import path_of
from vision_pipeline.adapters.sources.remote_folder import RemoteWalk, remote_image
from vision_pipeline.adapters.sources.selection import Selection
from vision_pipeline.adapters.sources.tables import manifest_suffix
from vision_pipeline.core.errors import SourceError


class Source(Protocol):
    """Items as a stream of Arrow record batches.

    Attributes:
        counts: After `batches`, how many files were passed over, by reason: `hidden`,
            `not_image`, `excluded`, `outside`, `repeated`, `unreadable_folders`.
    """

    counts: Counter[str]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Batches of at most 10,000 rows, from the beginning at each call.

        Columns: `item_id` string; `images` list of struct (`uri` string, `size_bytes` int64,
        `version` string); then the manifest's other columns under their own names and types.

        Raises:
            SourceError: The source cannot be listed.
        """
        ...


class SourceSettings(TypedDict, total=False):
    """What says where the items are; exactly one of `path` and `manifest` is not None.

    Attributes:
        path: Folder or single image, local or a URL that fsspec knows.
        manifest: Table of images, local or a URL.
        image_column: The manifest's column of paths and URLs; `image` if not given.
        group_by: The manifest's column whose equal values make one item.
        id_column: The manifest's column of ids; the images' values if not given.
        include: Patterns of `.gitignore`; if any, they replace the rule of suffixes.
        exclude: Patterns of what to leave out.
        follow_links: Whether links that leave the folder are followed; False if not given.
        column_types: Arrow types of manifest columns, where guessing fails.
        reserved: Column names that a manifest may not use.
    """

    path: str | None
    manifest: str | None
    image_column: str
    group_by: str | None
    id_column: str | None
    include: Sequence[str]
    exclude: Sequence[str]
    follow_links: bool
    column_types: Mapping[str, str]
    reserved: Collection[str]


def open_source(**settings: Unpack[SourceSettings]) -> Source:
    """The source that a configuration names; nothing is read before `batches`.

    Raises:
        SourceError: Neither or both of `path` and `manifest` are given, or the columns contradict
            each other, or a pattern is none.
    """
    path, manifest = settings.get("path"), settings.get("manifest")
    if path is not None and manifest is None:
        selection = Selection(settings.get("include", ()), settings.get("exclude", ()))
        return _folder(path, selection, follow_links=settings.get("follow_links", False))
    if manifest is None or path is not None:
        raise SourceError("source: give either path (a folder) or manifest (a table)")
    columns = ManifestColumns(
        image=settings.get("image_column", "image"),
        group_by=settings.get("group_by"),
        id=settings.get("id_column"),
        types=settings.get("column_types", {}),
        reserved=settings.get("reserved", ()),
    )
    if columns.group_by is not None and columns.id is not None:
        raise SourceError("source.group_by names the items already: leave source.id_column out")
    return ManifestSource(manifest, columns)


def _folder(path: str, selection: Selection, *, follow_links: bool) -> FolderSource:
    scheme = scheme_of(path)
    if scheme in {"http", "https"}:
        raise SourceError(f"{path}: a web folder cannot be listed; name its images in a manifest")

    def walk(counts: Counter[str]) -> Iterator[Found]:
        if scheme in {None, "file"}:
            local = Path(path if scheme is None else path_of(path))
            return _walk_local(local, selection, counts, follow_links=follow_links)
        return _walk_remote(path, selection, counts)

    return FolderSource(walk)


def _walk_local(
    path: Path, selection: Selection, counts: Counter[str], *, follow_links: bool
) -> Iterator[Found]:
    # Without "..", which may only be taken out together with links.
    root = path.resolve() if ".." in path.parts else path.absolute()
    if root.is_file():
        _refuse_manifest(str(path))
        return iter([local_image(str(root), root.name)])
    if not root.is_dir():
        raise SourceError(f"{path}: there is no such folder or file")
    return LocalWalk(
        root,
        follow_links=follow_links,
        reason_to_skip=selection.reason_to_skip,
        counts=counts,
    ).images()


def _walk_remote(url: str, selection: Selection, counts: Counter[str]) -> Iterator[Found]:
    file_system, root = connect(url)
    try:
        info = file_system.info(root)
    except Exception as error:  # each backend has its own
        raise SourceError(f"{url}: there is no such folder or file ({error})") from error
    if info["type"] == "file":
        _refuse_manifest(url)
        return iter([remote_image(file_system, info, root.rpartition("/")[2])])
    return RemoteWalk(
        file_system, root, reason_to_skip=selection.reason_to_skip, counts=counts
    ).images()


def _refuse_manifest(path: str) -> None:
    if manifest_suffix(path):
        raise SourceError(f"{path} is a table of images: give it as source.manifest, not as path")
