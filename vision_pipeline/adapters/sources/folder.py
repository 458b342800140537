"""Items from a folder: one an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pyarrow as pa

from vision_pipeline.adapters.sources.batches import Found, batches_of


class FolderSource:
    """The images of a folder, in a stable order.

    Attributes:
        counts: After `batches`, how many files were passed over, by reason.
    """

    def __init__(self, walk: Callable[[Counter[str]], Iterator[Found]]) -> None:
        self._walk = walk
        self.counts: Counter[str] = Counter()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The items, streamed; none where the folder has no image.

        Raises:
            SourceError: The folder cannot be listed.
        """
        self.counts = Counter()
        return batches_of(self._walk(self.counts))
