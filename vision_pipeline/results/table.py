"""The result table of an output folder."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.records import RESERVED_COLUMNS
from vision_pipeline.core.stores import extra_for
from vision_pipeline.core.suggestions import nearest
from vision_pipeline.results.latest import are_latest
from vision_pipeline.results.shards import Shards, open_shards
from vision_pipeline.results.where import Where, expression

DRAFT_SUFFIX = ".draft"


@dataclass(frozen=True, slots=True)
class Folder:
    """An output folder for reading; local or behind a URL."""

    filesystem: Any
    root: str

    def path(self, name: str) -> str:
        """The full path of a file in it."""
        return posixpath.join(self.root, name)

    def names(self, folder: str) -> list[str]:
        """Names of the whole files and folders in a folder of it, sorted.

        Raises:
            OutputError: The store does not answer.
        """
        try:
            self.filesystem.invalidate_cache()
            found = self.filesystem.ls(self.path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except Exception as error:  # each backend has its own
            raise OutputError(f"{self.path(folder)}: cannot be read: {error}") from error
        names = (posixpath.basename(str(path).rstrip("/")) for path in found)
        return sorted(name for name in names if not name.endswith(DRAFT_SUFFIX))

    def read_bytes(self, name: str) -> bytes:
        """The content of a file in it.

        Raises:
            OutputError: It is gone, or the store does not answer.
        """
        try:
            return bytes(self.filesystem.cat_file(self.path(name)))
        except Exception as error:  # each backend has its own
            raise OutputError(f"{self.path(name)}: cannot be read: {error}") from error


def open_folder(output: str) -> Folder:
    """Open an output folder.

    Raises:
        OutputError: There is none, or it holds no table yet.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(output)
    except (ValueError, ImportError) as error:
        raise OutputError(f"{output}: {error}{extra_for(output)}") from error
    folder = Folder(filesystem, str(path).rstrip("/"))
    if not (folder.names("results") or folder.names("runs")):
        raise OutputError(f"{output}: no results here; is it the output.path of a run?")
    return folder


def read_rows(
    folder: Folder,
    *,
    columns: Sequence[str] | None = None,
    run_id: str | None = None,
    where: Where | None = None,
) -> pa.Table:
    """Rows of all runs, or of one, oldest run first.

    Runs with another prompt have other columns: a column that a run lacks is null in its rows.
    Dictionaries are read as plain strings, so that runs with other labels fit together.

    Args:
        folder: The output folder.
        columns: Only these; all if None.
        run_id: Only this run.
        where: Only rows that it holds for, as in `expression`; others are not kept in memory.

    Raises:
        OutputError: No such run or column, no finished shard yet, a damaged file, a condition
            that does not fit the columns, or runs whose types do not fit together.
    """
    wanted = run_names(folder, run_id)
    return _joined(folder, _rows(folder, wanted, columns, where), columns)


def has_rows(folder: Folder) -> bool:
    """Whether any shard is finished."""
    return any(folder.names(f"results/{name}") for name in _run_folders(folder))


def read_latest(
    folder: Folder, *, columns: Sequence[str] | None = None, where: Where | None = None
) -> pa.Table:
    """The newest row of each item, as `latest` picks it, where that is one of `where`.

    Only runs that hold a newest row are looked at for columns, so that a column that has changed
    its type since does not matter once every item was asked anew.

    Raises:
        OutputError: As for `read_rows`.
    """
    found = None if columns is None else list(dict.fromkeys([*columns, "item_id"]))
    newest = newest_rows(folder)
    parts = []
    for rows, mine in zip(_rows(folder, list(newest), found, where), newest.values(), strict=True):
        kept = mine.among(rows)
        parts.append(kept if columns is None else kept.select(_among(columns, kept)))
    return _joined(folder, parts, columns)


@dataclass(frozen=True, slots=True)
class Newest:
    """Which rows of a run are the newest of their items.

    Attributes:
        item_ids: Those of the rows.
        older: Those of the run's other rows.
    """

    item_ids: pa.ChunkedArray
    older: pa.ChunkedArray

    def among(self, rows: pa.Table) -> pa.Table:
        """Those of some of the run's rows."""
        if not len(self.older):
            return rows
        few, are_kept = min((self.item_ids, True), (self.older, False), key=lambda ids: len(ids[0]))
        are_found = pc.is_in(rows["item_id"], few.combine_chunks())
        return rows.filter(are_found if are_kept else pc.invert(are_found))


def newest_rows(folder: Folder) -> dict[str, Newest]:
    """For the name of each run's folder that has rows which are their items' newest: which.

    Raises:
        OutputError: As for `read_rows`.
    """
    names = run_names(folder)
    runs = [table["item_id"] for table in _rows(folder, names, ["item_id"], None)]
    ids = pa.chunked_array([chunk for run in runs for chunk in run.chunks], pa.string())
    labels = pa.DictionaryArray.from_arrays(
        np.repeat(np.arange(len(names), dtype=np.int32), [len(run) for run in runs]), names
    )
    are_newest = are_latest(pa.table({"item_id": ids, "run_id": labels}))
    found, begin = {}, 0
    for name, run in zip(names, runs, strict=True):
        mine = are_newest[begin : begin + len(run)]
        begin += len(run)
        if mine.any():
            found[name] = Newest(run.filter(pa.array(mine)), run.filter(pa.array(~mine)))
    return found


def run_names(folder: Folder, run_id: str | None = None) -> list[str]:
    """Names of the folders of all runs, or of one, that have a finished shard; oldest first.

    Raises:
        OutputError: There is no such run.
    """
    runs = _run_folders(folder)
    if run_id is not None and f"run_id={run_id}" not in runs:
        known = ", ".join(name.removeprefix("run_id=") for name in runs)
        raise OutputError(f"{folder.root}: no run {run_id!r} here; there are: {known}")
    wanted = [name for name in runs if run_id in (None, name.removeprefix("run_id="))]
    # A run that was cut off in its first shard has a folder and no file yet.
    return [name for name in wanted if folder.names(f"results/{name}")]


def shards_of(folder: Folder, name: str) -> Shards:
    """The shards in the folder of a run that has some.

    Raises:
        OutputError: They cannot be read.
    """
    with _told(folder, name):
        paths = [
            folder.path(f"results/{name}/{shard}") for shard in folder.names(f"results/{name}")
        ]
        return open_shards(name.removeprefix("run_id="), paths, folder.filesystem)


def _run_folders(folder: Folder) -> list[str]:
    return [name for name in folder.names("results") if name.startswith("run_id=")]


def _joined(folder: Folder, parts: Sequence[pa.Table], columns: Sequence[str] | None) -> pa.Table:
    if not parts:
        raise OutputError(f"{folder.root}: no finished shard yet; run it again to go on")
    read = {name for part in parts for name in part.column_names}
    for missing in [name for name in columns or () if name not in read]:
        hint = nearest(missing, RESERVED_COLUMNS)
        raise OutputError(f"{folder.root}: no column {missing!r} in any run{hint}")
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise OutputError(
            f"{folder.root}: the runs do not fit together: {error}; "
            "name one run, or the columns to load"
        ) from error


def _rows(
    folder: Folder, names: Sequence[str], columns: Sequence[str] | None, where: Where | None
) -> list[pa.Table]:
    condition = expression(where)
    others = [shards_of(folder, name) for name in names] if condition is not None else []
    return [_read_run(folder, name, columns, condition, others) for name in names]


def _read_run(
    folder: Folder,
    name: str,
    columns: Sequence[str] | None,
    condition: ds.Expression | None,
    others: Sequence[Shards],
) -> pa.Table:
    with _told(folder, name):
        for _ in range(2):
            # A compaction may replace the files between their listing and their opening.
            with suppress(FileNotFoundError):
                return _read_shards(shards_of(folder, name), columns, condition, others)
        return _read_shards(shards_of(folder, name), columns, condition, others)


def _read_shards(
    shards: Shards,
    columns: Sequence[str] | None,
    condition: ds.Expression | None,
    others: Sequence[Shards],
) -> pa.Table:
    there = shards.schema.names
    chosen = there if columns is None else [column for column in columns if column in there]
    if condition is None:
        return shards.dataset().to_table(columns=chosen)
    dataset = shards.with_columns_of(others)
    try:
        scanner = dataset.scanner(columns=chosen, filter=condition)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        cause = str(error).partition(" in item_id:")[0].partition("\n")[0]
        hint = f"; there are: {', '.join(dataset.schema.names)}" if "FieldRef" in cause else ""
        raise OutputError(f"where: {condition}: {cause}{hint}") from error
    return scanner.to_table()


@contextmanager
def _told(folder: Folder, name: str) -> Iterator[None]:
    """Whatever goes wrong with the files of a run, as an `OutputError` that names them."""
    try:
        yield
    except (OutputError, FileNotFoundError):
        raise
    except Exception as error:  # Arrow's, and each backend's own
        raise OutputError(f"{folder.path(f'results/{name}')}: cannot be read: {error}") from error


def _among(columns: Sequence[str], table: pa.Table) -> list[str]:
    there = set(table.column_names)
    return [name for name in columns if name in there]
