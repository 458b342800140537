"""Text manifests as Arrow parses them, in blocks that are as small as their rows allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import IO, Protocol

import pyarrow as pa

# Arrow reads some 30 blocks ahead, however it is asked. A row must fit one block, and a row may
# carry a data: URL of the provider's 10 MiB in base64.
BLOCK_SIZES = tuple(1024 * kib for kib in (32, 256, 2048, 16_384))


class Opened(Protocol):
    """Opens the manifest, at its beginning; each time a file of its own."""

    def __call__(self) -> IO[bytes]: ...  # noqa: D102


class Parse(Protocol):
    """Arrow's reader of a file, with the types of some columns; the others' types are guessed."""

    def __call__(  # noqa: D102
        self, file: IO[bytes], types: Mapping[str, pa.DataType], *, block_bytes: int
    ) -> pa.RecordBatchReader: ...


class TextBlocks:
    """A manifest that may be parsed several times: a block that does not suffice is made larger.

    Args:
        opened: Opens it.
        parse: How it is written.
    """

    def __init__(self, opened: Opened, parse: Parse) -> None:
        self._opened = opened
        self._parse = parse

    def guess(self, types: Mapping[str, pa.DataType]) -> pa.Schema:
        """The columns, of types that fit all that the largest block would hold.

        Args:
            types: Of columns whose type is not to be guessed.

        Raises:
            pa.ArrowInvalid: The beginning cannot be parsed.
        """
        *smaller, largest = BLOCK_SIZES
        for block_bytes in smaller:
            with suppress(pa.ArrowInvalid):
                return self._guessed(types, block_bytes)
        return self._guessed(types, largest)

    def _guessed(self, types: Mapping[str, pa.DataType], block_bytes: int) -> pa.Schema:
        with self._opened() as file:
            # Arrow guesses from the first block, and refuses what does not fit in the others.
            reader = self._parse(file, types, block_bytes=block_bytes)
            for _ in islice(reader, BLOCK_SIZES[-1] // block_bytes):
                pass
            return reader.schema

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """The rows.

        Args:
            types: Of all columns.

        Raises:
            pa.ArrowInvalid: A row cannot be parsed.
        """
        done = 0
        for block_bytes in BLOCK_SIZES:
            start = 0
            try:
                with self._opened() as file:
                    for batch in self._parse(file, types, block_bytes=block_bytes):
                        if start + batch.num_rows > done:
                            new = batch.slice(max(done - start, 0))
                            done += new.num_rows
                            yield new
                        start += batch.num_rows
            except pa.ArrowInvalid:
                if block_bytes == BLOCK_SIZES[-1]:
                    raise
            else:
                return
