"""How a manifest is cut into shards: by its row groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

MAX_SHARDS = 2_000  # one Prefect task each; a server loses track of many more


def groups_per_shard(groups: int) -> int:
    """How many row groups a shard of a manifest of `groups` has."""
    return max(1, -(-groups // MAX_SHARDS))


def shard_rows(metadata: pq.FileMetaData) -> list[int]:
    """How many items each shard of a manifest has."""
    groups = metadata.num_row_groups
    sizes = [metadata.row_group(group).num_rows for group in range(groups)]
    width = groups_per_shard(groups)
    return [sum(sizes[first : first + width]) for first in range(0, groups, width)]


def read_shards(
    manifest: pq.ParquetFile, shards: Iterable[int], *, columns: Sequence[str] | None
) -> pa.Table:
    """Some columns, or all, of some shards, one after the other."""
    width, most = groups_per_shard(manifest.num_row_groups), manifest.num_row_groups
    groups = [
        group for shard in shards for group in range(shard * width, min((shard + 1) * width, most))
    ]
    return manifest.read_row_groups(groups, columns=columns)


def regroup(
    batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, size: int
) -> Iterator[pa.Table]:
    """The same items in tables of `size`, the last one smaller."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= size:
            table = pa.Table.from_batches(waiting, schema)
            whole = count - count % size
            for start in range(0, whole, size):
                yield table.slice(start, size)
            rest = table.slice(whole)
            waiting, count = rest.to_batches(), rest.num_rows
    if count:
        yield pa.Table.from_batches(waiting, schema)
