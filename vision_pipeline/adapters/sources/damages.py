"""What of several Parquet files is damaged: an item each, while the others are worth their run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.parquet_manifest import DamagedTableError
from vision_pipeline.adapters.sources.row_references import RowReferences

T = TypeVar("T")


class Damages:
    """Collects damage that a run outlives.

    Attributes:
        items: What stands for the rows that cannot be read.
        first: The first complaint, or None.

    Args:
        image_column: The manifest's.
        is_fatal: Whether damage is raised instead.
    """

    def __init__(self, image_column: str, *, is_fatal: bool) -> None:
        self.items: list[Found] = []
        self.first: DamagedTableError | None = None
        self._image_column = image_column
        self._is_fatal = is_fatal

    def outlived(self, parts: Iterator[T], location: str, rows: list[int]) -> Iterator[T]:
        """The parts of a file until one is damaged.

        Args:
            parts: Tables or batches.
            location: Of the file.
            rows: How many of its rows were taken before, in as many parts.

        Raises:
            DamagedTableError: There is damage, and it is fatal.
        """
        try:
            yield from parts
        except DamagedTableError as error:
            if self._is_fatal:
                raise
            self.first = self.first or error
            self.items.append(RowReferences(location, self._image_column).damaged(sum(rows)))
