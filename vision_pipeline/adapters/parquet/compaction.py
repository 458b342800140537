"""Many small result files of a finished run into few large ones, in one step for every reader.

The new files are written beside the table, where no reader looks, and checked; then the two folders
change places. A reader finds the old files or the new ones, also one that knows nothing of this
program, such as DuckDB; one that has listed the old files and not yet opened them lists again. A
process that is killed before or after that step leaves a folder that is of no use any more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vision_pipeline.adapters.parquet.exchange import can_exchange, exchange
from vision_pipeline.adapters.parquet.shard_files import ShardFile, merged_name, shard_files
from vision_pipeline.core.errors import OutputError, StorageError

STAGING_NAME = ".compaction"
ROW_GROUP_BYTES = 64 * 1024 * 1024  # of Arrow memory; what is held at a time


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of a run's files."""

    run_id: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int


def compact_run(root: Path, run_id: str, *, target_bytes: int) -> Compacted:
    """Merge result files of a run that is finished; only for who holds the output folder.

    Args:
        root: The output folder.
        run_id: The run.
        target_bytes: A file is closed once it holds that much; larger ones stay as they are.

    Raises:
        OutputError: A file is damaged or not ours, or folders cannot be exchanged here.
        StorageError: The disk is full. The table is as it was.
    """
    folder = root / "results" / f"run_id={run_id}"
    staging = root / STAGING_NAME / folder.name
    files = shard_files(path.name for path in folder.iterdir())
    sizes = {each.name: (folder / each.name).stat().st_size for each in files}
    groups = list(_groups(files, sizes, target_bytes))
    before = len(files), sum(sizes.values())
    if len(groups) == len(files):
        return Compacted(run_id, before[0], before[0], before[1], before[1])
    discard_staging(root)
    try:
        _stage(folder, groups, staging)
        exchange(staging, folder)
    except OSError as error:
        raise StorageError(f"{staging}: {error.strerror or error}; nothing has changed") from error
    else:
        _sync(folder.parent)
    finally:
        discard_staging(root)
    after = shard_files(path.name for path in folder.iterdir())
    size = sum((folder / each.name).stat().st_size for each in after)
    return Compacted(run_id, before[0], len(after), before[1], size)


def discard_staging(root: Path) -> None:
    """Remove what a compaction was working on, or has replaced."""
    shutil.rmtree(root / STAGING_NAME, ignore_errors=True)


def _stage(folder: Path, groups: Sequence[Sequence[ShardFile]], staging: Path) -> None:
    """Write what the folder is to become, to the last byte on the disk."""
    staging.mkdir(parents=True)
    if not can_exchange(staging.parent):
        raise OutputError(
            f"{folder}: this file system cannot exchange two folders in one step, so readers "
            "would see a mixture; copy the output to a local disk and compact it there"
        )
    for group in groups:
        _merge(folder, group, staging)
    _keep_others(folder, {each.name for group in groups for each in group}, staging)
    shutil.copystat(folder, staging)
    _sync(staging)


def _groups(
    files: Sequence[ShardFile], sizes: dict[str, int], target_bytes: int
) -> Iterator[list[ShardFile]]:
    """Files whose shards follow one another, until they are large enough."""
    group: list[ShardFile] = []
    for file in files:
        is_next = not group or file.first == group[-1].last + 1
        if not is_next or sum(sizes[each.name] for each in group) >= target_bytes:
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _merge(folder: Path, group: Sequence[ShardFile], staging: Path) -> None:
    if len(group) == 1:
        os.link(folder / group[0].name, staging / group[0].name)
        return
    target = staging / merged_name(group[0].first, group[-1].last)
    paths = [folder / each.name for each in group]
    try:
        # A run that an earlier version began has columns that not all of its files have.
        schema = pa.unify_schemas([pq.read_schema(path) for path in paths])
        with target.open("wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for table in _row_groups(paths, schema):
                    writer.write_table(table, row_group_size=table.num_rows)
            file.flush()
            os.fsync(file.fileno())
        read = sum(pq.read_metadata(path).num_rows for path in paths)
        written = pq.read_metadata(target).num_rows
    except (pa.ArrowException, ValueError) as error:
        raise OutputError(f"{folder}: cannot be merged: {error}; nothing has changed") from error
    if written != read:
        raise OutputError(f"{target}: {written} rows of {read}; nothing has changed")


def _row_groups(paths: Sequence[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for path in paths:
        with pq.ParquetFile(path) as file:
            waiting.append(file.read())
        if sum(table.nbytes for table in waiting) >= ROW_GROUP_BYTES:
            yield _together(waiting, schema)
            waiting = []
    if waiting:
        yield _together(waiting, schema)


def _together(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    together = pa.concat_tables([schema.empty_table(), *tables], promote_options="default")
    return together.unify_dictionaries()


def _keep_others(folder: Path, ours: Collection[str], staging: Path) -> None:
    """Take along what somebody else has put there."""
    for path in folder.iterdir():
        if path.is_dir():
            raise OutputError(f"{path}: is no file of a run; move it away, and compact again")
        if path.name not in ours:
            os.link(path, staging / path.name)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
