"""Choosing the source that a configuration names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol, TypedDict, Unpack

import pyarrow as pa

from vision_pipeline.adapters.sources.manifest import ManifestColumns, ManifestSource
from vision_pipeline.adapters.sources.pages import Pages
from vision_pipeline.adapters.sources.path import PathSource
from vision_pipeline.adapters.sources.patterns import Patterns
from vision_pipeline.adapters.sources.places import Places
from vision_pipeline.core.errors import SourceError


class Source(Protocol):
    """Items as a stream of Arrow record batches.

    Attributes:
        counts: After `batches`, how many files were passed over, by reason: `hidden`,
            `not_image`, `archive`, `excluded`, `outside`, `repeated`, `unreadable_folders`; in
            archives, `links` to what is no member; `archives_without_end_mark`, which may be cut
            off; of WebDatasets, samples with `no_image`, files with `no_text` by nature and
            `unreadable_columns`.
    """

    counts: Counter[str]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Batches of at most 1,000 rows, from the beginning at each call.

        Columns: `item_id` string; `images` list of struct (`uri` string, `size_bytes` int64,
        `version` string, `page` int32, `offset_bytes` int64); then the manifest's other columns
        under their own names and types, or the texts of a WebDataset.

        Raises:
            SourceError: The source cannot be listed.
        """
        ...


class SourceSettings(TypedDict, total=False):
    """What says where the items are; exactly one of `path` and `manifest` is not None.

    Attributes:
        path: Folder, image, document, tar or zip archive, or a pattern of these; local or a URL
            that fsspec knows.
        manifest: Table of images, local or a URL.
        image_column: The manifest's column of paths and URLs; `image` if not given.
        group_by: The manifest's column whose equal values make one item.
        order_by: The manifest's column whose values order the images of such an item.
        id_column: The manifest's column of ids; the images' values if not given.
        include: Patterns of `.gitignore`; if any, they replace the rule of suffixes.
        exclude: Patterns of what to leave out.
        follow_links: Whether links that leave the folder are followed; False if not given.
        column_types: Arrow types of manifest columns, where guessing fails.
        reserved: Column names that a manifest or a WebDataset may not use.
        max_pages: A document of more pages stays one item; 1000 if not given.
        max_source_bytes: A larger document stays one item; 100 MiB if not given.
        count_pages: The number of pages of a PDF, or an `ItemError`; 1 if not given.
    """

    path: str | None
    manifest: str | None
    image_column: str
    group_by: str | None
    order_by: str | None
    id_column: str | None
    include: Sequence[str]
    exclude: Sequence[str]
    follow_links: bool
    column_types: Mapping[str, str]
    reserved: Collection[str]
    max_pages: int
    max_source_bytes: int
    count_pages: Callable[[bytes], int]


def open_source(**settings: Unpack[SourceSettings]) -> Source:
    """The source that a configuration names; nothing is read before `batches`.

    Raises:
        SourceError: Neither or both of `path` and `manifest` are given, or the columns contradict
            each other, or a pattern is none.
    """
    path, manifest = settings.get("path"), settings.get("manifest")
    pages = Pages(
        settings.get("max_pages", 1000),
        settings.get("max_source_bytes", 100 * 1024 * 1024),
        settings.get("count_pages", _one_page),
    )
    if path is not None and manifest is None:
        patterns = Patterns(settings.get("include", ()), settings.get("exclude", ()))
        follow_links = settings.get("follow_links", False)
        return PathSource(
            Places(path, patterns, follow_links=follow_links),
            patterns=patterns,
            pages=pages,
            reserved=settings.get("reserved", ()),
        )
    if manifest is None or path is not None:
        raise SourceError("source: give either path (images) or manifest (a table of them)")
    columns = ManifestColumns(
        image=settings.get("image_column", "image"),
        group_by=settings.get("group_by"),
        id=settings.get("id_column"),
        types=settings.get("column_types", {}),
        reserved=settings.get("reserved", ()),
        order_by=settings.get("order_by"),
    )
    if columns.group_by is not None and columns.id is not None:
        raise SourceError("source.group_by names the items already: leave source.id_column out")
    return ManifestSource(manifest, columns, pages)


def _one_page(_: bytes) -> int:
    return 1
