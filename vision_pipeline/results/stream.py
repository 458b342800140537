"""Rows a few at a time, for tables that are larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.records import RESERVED_COLUMNS
from vision_pipeline.results.table import Folder, newest_rows, run_names, shards_of

_ROWS_AT_ONCE = 256


def columns_of(folder: Folder, run_id: str | None) -> tuple[dict[str, pa.DataType], set[str]]:
    """The columns that are not the pipeline's own, with their types, answers first.

    Args:
        folder: The output folder.
        run_id: Those of one run; None for all.

    Returns:
        Names and types, and which of the names come from the manifest.
    """
    found: dict[str, pa.DataType] = {}
    given: set[str] = set()
    for name in reversed(run_names(folder, run_id)):
        shards = shards_of(folder, name)
        given |= _manifest_columns(folder, shards.run_id)
        for field in shards.schema:
            if field.name not in RESERVED_COLUMNS:
                found.setdefault(field.name, field.type)
    ordered = sorted(found, key=lambda name: name in given)
    return {name: found[name] for name in ordered}, given & set(found)


def rows_one_by_one(
    folder: Folder, run_id: str | None, columns: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """The latest row of each item, or the rows of one run, oldest run first.

    Args:
        folder: The output folder.
        run_id: One run, or None for the latest rows.
        columns: `item_id` among them; what a run lacks is not in its rows.

    Raises:
        OutputError: They cannot be read.
    """
    newest = newest_rows(folder) if run_id is None else None
    for name in run_names(folder, run_id) if newest is None else newest:
        shards = shards_of(folder, name)
        there = [column for column in columns if column in shards.schema.names]
        batches = shards.dataset().to_batches(
            columns=there, batch_size=_ROWS_AT_ONCE, batch_readahead=1, fragment_readahead=1
        )
        for batch in batches:
            rows = pa.Table.from_batches([batch])
            yield from (rows if newest is None else newest[name].among(rows)).to_pylist()


def _manifest_columns(folder: Folder, run_id: str) -> set[str]:
    name = f"manifests/{run_id}.parquet"
    try:
        with folder.filesystem.open(folder.path(name)) as file:
            names = pq.read_schema(file).names
    except FileNotFoundError:  # by hand, or of an early version: all are taken for answers
        return set()
    except Exception as error:  # each backend has its own
        raise OutputError(f"{folder.path(name)}: cannot be read: {error}") from error
    return {name for name in names if not name.startswith("_")}
