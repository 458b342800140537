"""The result table of an output folder, for notebooks and scripts."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow.fs import FSSpecHandler, PyFileSystem

from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.records import RESERVED_COLUMNS
from vision_pipeline.core.stores import extra_for
from vision_pipeline.core.suggestions import nearest
from vision_pipeline.results.latest import latest

DRAFT_SUFFIX = ".draft"
# Files of earlier versions lack it.
_MODE = pa.field("mode", pa.dictionary(pa.int32(), pa.string()))


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
    folder: Folder, *, columns: Sequence[str] | None = None, run_id: str | None = None
) -> pa.Table:
    """Rows of all runs, or of one, oldest run first.

    Runs with another prompt have other columns: a column that a run lacks is null in its rows.
    Dictionaries are read as plain strings, so that runs with other labels fit together.

    Raises:
        OutputError: No such run or column, no finished shard yet, a damaged file, or runs whose
            types do not fit together.
    """
    runs = _run_folders(folder)
    if run_id is not None and f"run_id={run_id}" not in runs:
        known = ", ".join(name.removeprefix("run_id=") for name in runs)
        raise OutputError(f"{folder.root}: no run {run_id!r} here; there are: {known}")
    wanted = [name for name in runs if run_id in (None, name.removeprefix("run_id="))]
    # A run that was cut off in its first shard has a folder and no file yet.
    parts = [_read_run(folder, name, columns) for name in wanted if folder.names(f"results/{name}")]
    return _joined(folder, parts, columns)


def has_rows(folder: Folder) -> bool:
    """Whether any shard is finished."""
    return any(folder.names(f"results/{name}") for name in _run_folders(folder))


def read_latest(folder: Folder, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The newest row of each item, as `latest` picks it.

    Only runs that hold a newest row are looked at for columns, so that a column that has changed
    its type since does not matter once every item was asked anew.

    Raises:
        OutputError: As for `read_rows`.
    """
    newest = latest(read_rows(folder, columns=["item_id", "run_id"]))
    parts = []
    for name in _run_folders(folder):
        run_id = name.removeprefix("run_id=")
        mine = newest.filter(pc.equal(newest["run_id"], run_id))["item_id"]
        if len(mine):
            rows = _read_run(folder, name, columns)
            parts.append(rows.filter(pc.is_in(rows["item_id"], mine.combine_chunks())))
    return _joined(folder, parts, columns)


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


def _read_run(folder: Folder, name: str, columns: Sequence[str] | None) -> pa.Table:
    try:
        for _ in range(2):
            # A compaction may replace the files between their listing and their opening.
            with suppress(FileNotFoundError):
                return _read_shards(folder, name, columns)
        return _read_shards(folder, name, columns)
    except OutputError:
        raise
    except Exception as error:  # Arrow's, and each backend's own
        raise OutputError(f"{folder.path(f'results/{name}')}: cannot be read: {error}") from error


def _read_shards(folder: Folder, name: str, columns: Sequence[str] | None) -> pa.Table:
    shards = [folder.path(f"results/{name}/{shard}") for shard in folder.names(f"results/{name}")]
    filesystem = PyFileSystem(FSSpecHandler(folder.filesystem))
    dataset = ds.dataset(sorted(shards), format="parquet", filesystem=filesystem)
    if _MODE.name not in dataset.schema.names:
        dataset = dataset.replace_schema(dataset.schema.append(_MODE))
    there = dataset.schema.names
    chosen = there if columns is None else [column for column in columns if column in there]
    table = dataset.to_table(columns=chosen)
    return pa.table({column: _plain(table[column]) for column in table.column_names})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return pc.cast(column, column.type.value_type)
    return column


def load(
    output: str, *, runs: str = "latest", columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """The result table as a pandas DataFrame with Arrow types.

    Args:
        output: The output folder of a run, local or a URL.
        runs: `latest` for the newest row of each item, `all` for every row of every run, or the
            id of one run.
        columns: Only these, besides `item_id`; all if None.

    Raises:
        OutputError: There is no table, or no such run.
    """
    folder = open_folder(output)
    wanted = None if columns is None else list(dict.fromkeys(["item_id", *columns]))
    if runs == "latest":
        table = read_latest(folder, columns=wanted)
    else:
        table = read_rows(folder, columns=wanted, run_id=None if runs == "all" else runs)
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
