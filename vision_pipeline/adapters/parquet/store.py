"""Manifests, shards and run files in the output folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vision_pipeline.adapters.parquet.earlier import ORIGIN_NAME
from vision_pipeline.adapters.parquet.manifest_cuts import read_shards, regroup, shard_rows
from vision_pipeline.adapters.parquet.shard_files import ShardFile, shard_files, shard_name
from vision_pipeline.adapters.parquet.table import result_table
from vision_pipeline.core.columns import ColumnType
from vision_pipeline.core.errors import OutputError, PipelineError
from vision_pipeline.core.records import RESERVED_COLUMNS, Row

# What a store is asked for at a time; a disk has no such blocks.
_BLOCK_BYTES = 1024 * 1024

_MANIFEST_OWN = ("item_id", "_fingerprint", "images", ORIGIN_NAME)


class Folder(Protocol):
    """What the store needs of the output folder."""

    @property
    def filesystem(self) -> Any:  # noqa: ANN401, D102
        ...
    def path(self, name: str) -> str: ...  # noqa: D102
    def shown(self, name: str) -> str: ...  # noqa: D102
    def create(self, name: str) -> AbstractContextManager[BinaryIO]: ...  # noqa: D102
    def read_bytes(self, name: str) -> bytes: ...  # noqa: D102
    def names(self, folder: str) -> list[str]: ...  # noqa: D102
    def exists(self, name: str) -> bool: ...  # noqa: D102


class ResultStore:
    """Reads and writes what stands under an output folder.

    Layout: `manifests/<run_id>.parquet`, `results/run_id=<id>/shard-00007.parquet` (once compacted
    `shards-00000-00041.parquet`), `runs/<run_id>.json`.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def results_path(self) -> str:
        """The folder that holds the table, as a user would write it."""
        return self._folder.shown("results")

    def run_ids(self) -> list[str]:
        """All runs that have a run file, oldest first."""
        names = self._folder.names("runs")
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def read_run(self, run_id: str) -> dict[str, Any]:
        """A run file.

        Raises:
            OutputError: It is damaged.
        """
        name = f"runs/{run_id}.json"
        with self._translated(name):
            document = orjson.loads(self._folder.read_bytes(name))
        if not isinstance(document, dict):
            raise OutputError(f"{self._folder.shown(name)}: cannot be read: it is no JSON object")
        return document

    def write_run(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Write or replace a run file."""
        with self._folder.create(f"runs/{run_id}.json") as file:
            file.write(orjson.dumps(dict(document), option=orjson.OPT_INDENT_2, default=str))

    def freeze(
        self, run_id: str, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, shard_size: int
    ) -> int:
        """Write the manifest of a run, row groups of `shard_size` items; returns how many items."""
        count = 0
        with (
            self._folder.create(_manifest_name(run_id)) as file,
            pq.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            for group in regroup(batches, schema=schema, size=shard_size):
                writer.write_table(group, row_group_size=shard_size)
                count += group.num_rows
        return count

    def has_manifest(self, run_id: str) -> bool:
        """Whether the manifest of that run was frozen."""
        return self._folder.exists(_manifest_name(run_id))

    def manifest(self, run_id: str) -> AbstractContextManager[pq.ParquetFile]:
        """The manifest of a run, open."""
        return self._parquet(_manifest_name(run_id))

    def item_count(self, run_id: str) -> int:
        """How many items the manifest of that run has."""
        with self.manifest(run_id) as manifest:
            return int(manifest.metadata.num_rows)

    def shard_rows(self, run_id: str) -> list[int]:
        """How many items each shard of that run has."""
        with self.manifest(run_id) as manifest:
            return shard_rows(manifest.metadata)

    def shard_items(self, run_id: str, shard: int) -> pa.Table:
        """The manifest's rows of one shard, all columns."""
        with self.manifest(run_id) as manifest:
            return read_shards(manifest, [shard], columns=None)

    def finished_shards(self, run_id: str) -> set[int]:
        """Shards whose result file is there."""
        return {shard for file in self._files(run_id) for shard in file.shards}

    def write_shard(
        self,
        run_id: str,
        shard: int,
        rows: Sequence[Row],
        *,
        answer_columns: Sequence[tuple[str, ColumnType]],
        items: pa.Table,
    ) -> None:
        """Write one shard; that its file is there means that it is done."""
        passed_on = [name for name in items.column_names if name not in _MANIFEST_OWN]
        table = result_table(
            rows, answer_columns=answer_columns, manifest_columns=items.select(passed_on)
        )
        with self._folder.create(f"{_run_folder(run_id)}/{shard_name(shard)}") as file:
            pq.write_table(table, file, compression="zstd")

    def read_shard(self, run_id: str, shard: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of one finished shard.

        Raises:
            OutputError: It is damaged.
        """
        return self._rows(f"{_run_folder(run_id)}/{shard_name(shard)}", columns)

    def parts(self, columns: Sequence[str]) -> Iterator[tuple[str, Sequence[int], pa.Table]]:
        """Run, shards and some columns of their rows, of all runs that have a manifest."""
        for run_id in self.listed_runs():
            for shards, rows in self.run_parts(run_id, columns):
                yield run_id, shards, rows

    def listed_runs(self) -> list[str]:
        """The runs whose rows can be told apart by their manifests."""
        return [each for each in self.run_ids() if self._files(each) and self.has_manifest(each)]

    def run_parts(
        self, run_id: str, columns: Sequence[str]
    ) -> Iterator[tuple[Sequence[int], pa.Table]]:
        """Shards of a run and their rows, file by file, each once, also while somebody compacts."""
        done: set[int] = set()
        for is_last_try in (False, False, True):
            try:
                for file in self._files(run_id):
                    left = [shard for shard in file.shards if shard not in done]
                    if not left:
                        continue
                    rows = self._rows(f"{_run_folder(run_id)}/{file.name}", [*columns, "shard"])
                    if len(left) < len(file.shards):
                        rows = rows.filter(pc.is_in(rows["shard"], pa.array(left, pa.int32())))
                    done.update(left)
                    yield left, rows
            except OutputError as error:
                # Listed, and replaced before it was opened.
                if is_last_try or not isinstance(error.__cause__, FileNotFoundError):
                    raise
            else:
                return

    def manifest_schema(self, run_id: str) -> pa.Schema:
        """The columns of a manifest."""
        with self.manifest(run_id) as manifest:
            return manifest.schema_arrow

    def manifest_parts(self, run_id: str, shards: Sequence[int]) -> Iterator[tuple[int, pa.Table]]:
        """Some shards of a manifest, one after the other."""
        with self.manifest(run_id) as manifest:
            for shard in shards:
                yield shard, read_shards(manifest, [shard], columns=None)

    def rows_of(self, run_id: str, shards: Collection[int]) -> pa.Table:
        """The rows of some finished shards, with the pipeline's own columns.

        Raises:
            OutputError: They are not there any more, or damaged.
        """
        wanted = set(shards)
        names = [file.name for file in self._files(run_id) if not wanted.isdisjoint(file.shards)]
        tables = [self._some_rows(f"{_run_folder(run_id)}/{name}", wanted) for name in names]
        found = {shard for table in tables for shard in table["shard"].unique().to_pylist()}
        if lost := sorted(wanted - found):
            raise OutputError(f"{self._folder.path(_run_folder(run_id))}: shard {lost[0]} is gone")
        return pa.concat_tables(tables, promote_options="default")

    def _some_rows(self, name: str, shards: Collection[int]) -> pa.Table:
        path = self._folder.path(name)
        with self._translated(name), self._folder.filesystem.open(path, "rb") as file:
            # Of a compacted file, only the row groups that may have them are read.
            is_wanted = pc.field("shard").isin(sorted(shards))
            # A file of an earlier version lacks what was added since.
            there = set(pq.read_schema(file).names)
            columns = [column for column in RESERVED_COLUMNS if column in there]
            return pq.read_table(file, columns=columns, filters=is_wanted, partitioning=None)

    def _files(self, run_id: str) -> list[ShardFile]:
        return shard_files(self._folder.names(_run_folder(run_id)))

    def _rows(self, name: str, columns: Sequence[str]) -> pa.Table:
        with self._parquet(name) as rows:
            return rows.read(columns=list(columns))

    @contextmanager
    def _parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        path = self._folder.path(name)
        with (
            self._translated(name),
            self._folder.filesystem.open(path, "rb", block_size=_BLOCK_BYTES) as file,
            pq.ParquetFile(file) as content,
        ):
            yield content

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except PipelineError:
            raise
        except Exception as error:  # JSON's, Arrow's, and each backend's own
            raise OutputError(f"{self._folder.shown(name)}: cannot be read: {error}") from error


def _manifest_name(run_id: str) -> str:
    return f"manifests/{run_id}.parquet"


def _run_folder(run_id: str) -> str:
    return f"results/run_id={run_id}"
