"""A run in chunks, so that others get their turn, or somebody can look before it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chunks:
    """How much of a run is worked on at a time.

    Attributes:
        items: At most so many; None for all at once. At least 1.
        pause_s: Between a chunk and the next.
    """

    items: int | None = None
    pause_s: float = 0.0

    def shard_size(self, usual: int) -> int:
        """Items of a shard: no more than a chunk has, since a shard is worked on as a whole."""
        return usual if self.items is None else min(usual, self.items)

    def cut(self, shards: Sequence[int], rows: Sequence[int]) -> list[list[int]]:
        """Consecutive shards, in chunks.

        Args:
            shards: Which ones.
            rows: How many items each shard of the run has. One that has more than a chunk, as of a
                run that was begun without them, is a chunk of its own.
        """
        chunks: list[list[int]] = []
        room = 0
        for shard in shards:
            if not chunks or (self.items is not None and rows[shard] > room):
                chunks.append([])
                room = self.items or 0
            chunks[-1].append(shard)
            room -= rows[shard]
        return chunks


WHOLE = Chunks()
