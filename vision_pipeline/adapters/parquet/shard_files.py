"""Names of result files: one shard, or after a compaction several in a row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NAME = re.compile(r"shards?-(\d+)(?:-(\d+))?\.parquet")


@dataclass(frozen=True, slots=True, order=True)
class ShardFile:
    """A result file; that it is there means that its shards are done.

    Attributes:
        first: Its first shard.
        last: Its last one; all in between are in it too.
        name: Its name in the folder of its run.
    """

    first: int
    last: int
    name: str

    @property
    def shards(self) -> range:
        """The shards whose rows it has, in this order."""
        return range(self.first, self.last + 1)


def shard_name(shard: int) -> str:
    """The name of the file of one shard."""
    return f"shard-{shard:05d}.parquet"


def merged_name(first: int, last: int) -> str:
    """The name of the file of several; never that of one, so that no reader takes it for one."""
    return f"shards-{first:05d}-{last:05d}.parquet"


def shard_files(names: Iterable[str]) -> list[ShardFile]:
    """The result files among the names of a folder, in the order of their shards."""
    matches = [match for name in names if (match := _NAME.fullmatch(name))]
    return sorted(ShardFile(int(m[1]), int(m[2] or m[1]), m[0]) for m in matches)
