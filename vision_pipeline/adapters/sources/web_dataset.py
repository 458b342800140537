"""Tar archives in WebDataset's form: files with one key make a sample, an item with columns.

A key is a path up to the first dot of its last part, as in the library of that name: `a/0001` of
`a/0001.jpg`, `a/0001.txt` and `a/0001.caption.txt`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa

from vision_pipeline.adapters.sources.archives import Archive, Listing, is_hidden
from vision_pipeline.adapters.sources.batches import BATCH_ROWS, ITEM_FIELDS, Found, batch_of
from vision_pipeline.adapters.sources.patterns import has_image_suffix
from vision_pipeline.adapters.sources.tar_archives import pages_of
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.members import readable
from vision_pipeline.core.tar import TarMember

_BINARY_NAMES = """
    bin pkl pickle pyd joblib npy npz npx pth pt ten tb mp msg msgpack cbor safetensors onnx h5 hdf5
    parquet arrow feather db sqlite gz bz2 xz zst zip tar 7z
    wav mp3 flac ogg opus m4a aac mp4 m4v mov avi mkv webm mpg mpeg mjpeg ply glb stl
"""
_BINARY = frozenset(_BINARY_NAMES.split())
_SINGLE_LINES = frozenset({"txt", "cls"})
_JINJA_WORDS = frozenset({"true", "false", "none"})
_MOST_COLUMNS = 100
_MOST_TEXT_BYTES = 1024 * 1024
_BATCH_TEXT_BYTES = 64 * 1024 * 1024
_NO_IDENTIFIER = re.compile(r"\W")


@dataclass(frozen=True, slots=True)
class Sample:
    """One item, and its texts by the name of their column."""

    item_id: str
    images: Sequence[Found]
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Group:
    images: list[TarMember] = field(default_factory=list)
    texts: dict[str, TarMember] = field(default_factory=dict)


def is_web_dataset(members: Iterable[TarMember], listing: Listing) -> bool:
    """Whether an image shares its key with a file that is none."""
    reason_to_skip = listing.patterns.reason_to_skip
    of_others = {
        key
        for name, (key, _) in _keyed(members)
        if not has_image_suffix(name) and reason_to_skip(name) is not None
    }
    # Most archives have no others, and then the keys of their images need not be remembered.
    return bool(of_others) and any(
        key in of_others for name, (key, _) in _keyed(members) if reason_to_skip(name) is None
    )


def text_extensions(
    archive: Archive, members: Iterable[TarMember], listing: Listing
) -> dict[str, str]:
    """The extensions whose content becomes a column, each with the first file that has it.

    Raises:
        SourceError: A file is there twice: samples of one key would be mixed up.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    for name, (key, extension) in _keyed(members):
        is_column = _reason_for_no_column(name, extension, listing) is None
        identity = f"{key}.{extension}" if is_column else name
        if identity in seen:
            detail = f"{name!r} is there twice; give each sample a key of its own"
            raise SourceError(f"{archive.location}: {detail}")
        seen.add(identity)
        if is_column:
            found.setdefault(extension, f"{archive.location}: {name!r}")
    return found


def columns_of(extensions: Mapping[str, str], reserved: Collection[str]) -> dict[str, str]:
    """The name of each extension's column, sorted by it.

    Args:
        extensions: Each with a file that has it, for messages.
        reserved: Names that the result table needs for itself.

    Raises:
        SourceError: A name is reserved, or two extensions give the same one, or there are more
            than any data set has.
    """
    if len(extensions) > _MOST_COLUMNS:
        *_, where = extensions.values()
        raise SourceError(
            f"{where}: more than {_MOST_COLUMNS} extensions; a sample's key ends at the first dot "
            "of a file's name, so rename files with further dots"
        )
    taken = {*reserved, *(item_field.name for item_field in ITEM_FIELDS)}
    owners: dict[str, str] = {}
    for extension, where in extensions.items():
        column = _column(extension)
        if column in taken or column in owners:
            cause = f"as '.{owners[column]}' is" if column in owners else "which is reserved"
            remedy = f"rename such files or leave them out: source.exclude: ['*.{extension}']"
            raise SourceError(f"{where} would be the column {column!r}, {cause}; {remedy}")
        owners[column] = extension
    return {owners[column]: column for column in sorted(owners)}


def samples_of(
    archive: Archive, members: Iterable[TarMember], columns: Mapping[str, str], listing: Listing
) -> Iterator[Sample]:
    """The samples of an archive in the order in which their keys come up, texts read in passing.

    Args:
        archive: Where they are.
        members: What it holds.
        columns: The column of each extension, as of `columns_of`.
        listing: Which images are taken; its counts get `no_image` for samples without one,
            `no_text` for files whose content is no text by nature, `unreadable_columns` for texts
            that are none or larger than 1 MiB, and what is passed over in any archive.

    Raises:
        SourceError: The file is no longer there.
    """
    groups = _grouped(members, columns, listing)
    with archive.opened() as file:
        for key in list(groups):
            group = groups.pop(key)
            if not group.images:
                listing.counts["no_image"] += 1
                continue
            item_id = listing.ids.distinct(archive.prefix + key)
            images = [
                page
                for member in group.images
                for page in pages_of(archive, member, item_id, pages=listing.pages, file=file)
            ]
            texts = _texts(group, file, listing)
            if len(group.images) > 1:
                yield Sample(item_id, images, texts)
            else:
                yield from (Sample(page.item_id, [page], texts) for page in images)


def batches_of_samples(
    samples: Iterable[Sample], columns: Iterable[str]
) -> Iterator[pa.RecordBatch]:
    """Items with their texts, at most `BATCH_ROWS` and about 64 MB of text at a time."""
    names = list(columns)
    some: list[Sample] = []
    text_bytes = 0
    for sample in samples:
        some.append(sample)
        text_bytes += sum(len(text) for text in sample.texts.values())
        if len(some) == BATCH_ROWS or text_bytes >= _BATCH_TEXT_BYTES:
            yield _batch(some, names)
            some, text_bytes = [], 0
    if some:
        yield _batch(some, names)


def _batch(samples: Sequence[Sample], columns: Iterable[str]) -> pa.RecordBatch:
    texts = [
        (
            pa.field(column, pa.string()),
            pa.array([sample.texts.get(column) for sample in samples], pa.string()),
        )
        for column in columns
    ]
    item_ids = [sample.item_id for sample in samples]
    return batch_of(item_ids, [sample.images for sample in samples], texts)


def _keyed(members: Iterable[TarMember]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Name, key and extension of each member that has them and is not hidden."""
    for member in members:
        name = readable(member.name)
        parts = None if is_hidden(name) else _key_and_extension(name)
        if parts is not None:
            yield name, parts


def _key_and_extension(name: str) -> tuple[str, str] | None:
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return (f"{folder}{slash}{stem}", extension.lower()) if stem and extension else None


def _grouped(
    members: Iterable[TarMember], columns: Mapping[str, str], listing: Listing
) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for member in members:
        name = readable(member.name)
        parts = _key_and_extension(name)
        reason = listing.reason_to_skip(name)
        if parts is None or reason == "hidden":
            listing.counts[reason or "not_image"] += 1
            continue
        key, extension = parts
        group = groups.setdefault(key, _Group())
        if reason is None:
            group.images.append(member)
        elif (reason := _reason_for_no_column(name, extension, listing)) is not None:
            listing.counts[reason] += 1
        elif extension in columns:  # it is not where the archive has changed since columns were set
            group.texts[columns[extension]] = member
    return groups


def _reason_for_no_column(name: str, extension: str, listing: Listing) -> str | None:
    if listing.patterns.reason_to_skip(name) is None:
        return "image"
    if listing.patterns.excludes(name) or has_image_suffix(name):
        return "excluded"
    return "no_text" if extension.rpartition(".")[2] in _BINARY else None


def _column(extension: str) -> str:
    name = _NO_IDENTIFIER.sub("_", extension)
    if not name.isidentifier():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _JINJA_WORDS else name


def _texts(group: _Group, file: IO[bytes], listing: Listing) -> dict[str, str]:
    texts = {}
    for column, member in group.texts.items():
        text = _text(member, file)
        if text is None:
            listing.counts["unreadable_columns"] += 1
        else:
            texts[column] = text
    return texts


def _text(member: TarMember, file: IO[bytes]) -> str | None:
    if member.size_bytes > _MOST_TEXT_BYTES:
        return None
    file.seek(member.offset_bytes)
    data = file.read(member.size_bytes)
    if len(data) < member.size_bytes:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    is_single_line = member.name.lower().rpartition(".")[2] in _SINGLE_LINES
    return re.sub(r"\r?\n\Z", "", text) if is_single_line else text
