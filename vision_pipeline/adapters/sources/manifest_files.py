"""The files of a manifest: one, or all that a pattern names."""

from __future__ import annotations

from pathlib import PurePosixPath

import pyarrow as pa

from vision_pipeline.adapters.sources.file_systems import FileSystem, connect, scheme_of
from vision_pipeline.adapters.sources.tables import Table
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.members import is_chain

_MAGIC = frozenset("*?[")
_WEB_SCHEMES = frozenset({"http", "https"})


def manifest_files(location: str) -> list[str]:
    """The files that a manifest's name stands for, sorted by name.

    A name with `*`, `?` or `[` is a pattern, unless there is a file of just this name; hidden files
    match none. URLs of the web and chained ones are never patterns.

    Raises:
        SourceError: No file matches, or the place cannot be searched.
    """
    scheme = scheme_of(location)
    if scheme in _WEB_SCHEMES or is_chain(location) or not _MAGIC & set(location):
        return [location]
    file_system, path = connect(location)
    try:
        if _is_there(file_system, path):
            return [location]
        matches = file_system.glob(path, detail=True)
    except Exception as error:  # each backend has its own
        raise SourceError(f"{location}: cannot be searched: {error}") from error
    found = sorted(
        name if scheme is None else file_system.unstrip_protocol(name)
        for name, entry in matches.items()
        if entry["type"] != "directory" and not PurePosixPath(name).name.startswith(".")
    )
    if not found:
        raise SourceError(f"{location}: no file has a name like this")
    return found


def same_columns(first: Table, other: Table) -> Table:
    """The second table with its columns in the order of the first.

    Raises:
        SourceError: They are not the same columns, or not of the same types.
    """
    known, here = _types(first), _types(other)
    for name, kind in known.items():
        if name not in here:
            raise SourceError(f"{other.location}: has no column {name!r}, unlike {first.location}")
        if here[name] != kind:
            raise SourceError(
                f"{other.location}: the column {name!r} is {here[name]}, but {kind} in "
                f"{first.location}; where types are guessed, source.column_types sets them"
            )
    for name in here:
        if name not in known:
            raise SourceError(f"{other.location}: has the column {name!r}, unlike {first.location}")
    batches = (
        pa.RecordBatch.from_arrays(
            [batch.column(name) for name in first.schema.names], schema=first.schema
        )
        for batch in other.batches
    )
    return Table(other.location, first.schema, batches, other.images)


def _types(table: Table) -> dict[str, pa.DataType]:
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    return types | {table.images.name: table.images.type}


def _is_there(file_system: FileSystem, path: str) -> bool:
    try:
        return bool(file_system.info(path)["type"] != "directory")
    except FileNotFoundError:
        return False
