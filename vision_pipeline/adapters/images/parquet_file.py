"""One column of a Parquet file that holds images, decoded forward a few rows at a time."""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import fsspec
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from vision_pipeline.adapters.images.passed_rows import MEBIBYTE, Value
from vision_pipeline.core.errors import ErrorCode, ItemError

_BATCH_BYTES = MEBIBYTE
_MAX_BATCH_ROWS = 1024
# A request to an object store costs as long as some megabytes of it.
_LOCAL_BUFFER_BYTES, _REMOTE_BUFFER_BYTES = MEBIBYTE, 8 * MEBIBYTE
# Arrow's writer looks at a page's size only after so many rows: a page of photos is a large one.
_PAGE_ROWS = 1024
# A page as stored, as unpacked, and the dictionary's page.
_PAGES_HELD = 3


class BytesColumn:
    """An open file and the column of it that holds the images' bytes.

    Args:
        container: Local path, `file:` URL or URL that fsspec knows.
        column: Binary, or a struct with the binary child `bytes` and perhaps the child `path`.
        version: Modification time in ns that a local file must have, or "" for any.
        max_bytes: Of a longer value, so many bytes and one are read.

    Raises:
        ItemError: `source_missing`: the file is not there, has changed since it was listed, or
            has no such column; `unreadable_image`: it is damaged, or no Parquet file.
    """

    def __init__(self, container: str, column: str, *, version: str, max_bytes: int) -> None:
        self.column = column
        self.max_bytes = max_bytes
        self._path = _local_path(container)
        self._version = version
        self._damage: dict[int, tuple[int, ItemError]] = {}
        self.check_unchanged()
        try:
            self._source = _opened(container, self._path)
        except Exception as error:  # the operating system's, each file system's own
            raise self.unreadable(error) from error
        try:
            self._open(column)
        except BaseException as error:
            self.close()
            if isinstance(error, (ItemError, KeyboardInterrupt)):
                raise
            raise self.unreadable(error) from error

    def _open(self, column: str) -> None:
        buffer_bytes = _REMOTE_BUFFER_BYTES if self._path is None else _LOCAL_BUFFER_BYTES
        self.file = pa_parquet.ParquetFile(self._source, buffer_size=buffer_bytes, pre_buffer=False)
        schema = self.file.schema_arrow
        if schema.get_field_index(column) < 0:
            raise ItemError(ErrorCode.SOURCE_MISSING, f"the file has no column {column!r}")
        kind = schema.field(column).type
        self.is_struct = pa.types.is_struct(kind)
        # Names of leaves: all children of a struct would be read with it otherwise.
        self.leaves = [column]
        if self.is_struct:
            children = {child.name for child in kind}
            if "bytes" not in children:
                raise ItemError(ErrorCode.SOURCE_MISSING, f"the column {column!r} has no bytes")
            self.leaves = [f"{column}.{name}" for name in ("bytes", "path") if name in children]
        metadata = self.file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self.starts: list[int] = [0, *accumulate(sizes)]

    def group_of(self, row: int) -> int:
        """The row group in which a row is.

        Raises:
            ItemError: `source_missing`: the file has fewer rows; `unreadable_image`: it is known to
                be damaged there.
        """
        if row >= self.starts[-1]:
            detail = f"there is no row {row}: the file has {self.starts[-1]} rows, counted from 0"
            raise ItemError(ErrorCode.SOURCE_MISSING, detail)
        group = bisect_right(self.starts, row) - 1
        if group in self._damage and row >= self._damage[group][0]:
            known = self._damage[group][1]
            raise ItemError(known.code, known.detail)
        return group

    def mean_bytes(self, group: int) -> float:
        """Unpacked size of a row of a group, on average."""
        metadata = self.file.metadata.row_group(group)
        chunks = [metadata.column(index) for index in range(metadata.num_columns)]
        total = sum(
            chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in self.leaves
        )
        return float(total / max(1, metadata.num_rows))

    def check_unchanged(self) -> None:
        """See that a local file is the one that was listed: other rows may have moved to its rows.

        Raises:
            ItemError: `source_missing`: it is gone, or has changed.
        """
        if self._path is None:
            return
        try:
            found = self._path.stat()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise self.unreadable(error) from error
        if not stat.S_ISREG(found.st_mode):
            raise ItemError(ErrorCode.SOURCE_MISSING, "not a regular file")
        if self._version and str(found.st_mtime_ns) != self._version:
            detail = "the Parquet file has changed since it was listed: run again"
            raise ItemError(ErrorCode.SOURCE_MISSING, detail)

    def remember_damage(self, row: int, failure: ItemError) -> None:
        """Let no row at or after `row` of its group be tried again; not over a network."""
        if self._path is not None:
            self._damage[bisect_right(self.starts, row) - 1] = (row, failure)

    def unreadable(self, error: BaseException) -> ItemError:
        """What a row says of an error that reading the file met with."""
        return _unreadable(error, is_local=self._path is not None)

    def close(self) -> None:
        """Close the file."""
        self._source.close()


class Cursor:
    """A way through one row group, from its first row to its last.

    Attributes:
        next_row: The first row, counted over the whole file, that was not decoded yet.
        end_row: The row after the group's last.
        held_bytes: Memory that it may take while it is not at its end, estimated.
    """

    def __init__(self, column: BytesColumn, group: int) -> None:
        self._column = column
        self.next_row, self.end_row = column.starts[group], column.starts[group + 1]
        rows, mean = self.end_row - self.next_row, column.mean_bytes(group)
        self.held_bytes = int(_PAGES_HELD * min(rows, _PAGE_ROWS) * mean)
        self._batches = column.file.iter_batches(
            max(1, min(_MAX_BATCH_ROWS, int(_BATCH_BYTES / max(1.0, mean)))),
            row_groups=[group],
            columns=column.leaves,
            use_threads=False,
        )

    @property
    def is_done(self) -> bool:
        """Whether all rows of the group were decoded."""
        return self.next_row >= self.end_row

    def decoded(self) -> Iterator[tuple[int, Value]]:
        """The next rows, about a MiB of them and at least one.

        Raises:
            ItemError: `unreadable_image`: the file is damaged; `source_missing`: it has changed.
        """
        first = self.next_row
        self._column.check_unchanged()
        try:
            batch = next(self._batches)
            values = _values(batch.column(self._column.column), self._column)
            self.next_row += len(values)
        except Exception as error:  # pyarrow's, the operating system's, each file system's own
            failure = self._column.unreadable(error)
            if isinstance(error, (OSError, pa.ArrowInvalid)):  # not where memory ran out
                self._column.remember_damage(first, failure)
            raise failure from error
        return iter(enumerate(values, first))


def _unreadable(error: BaseException, *, is_local: bool) -> ItemError:
    """What a row says of a file that cannot be read."""
    strerror = getattr(error, "strerror", None)
    detail = strerror or f"the Parquet file cannot be read: {type(error).__name__}: {error}"
    # Of the two that Arrow raises for damage, one is also what stores raise that are out of reach.
    is_damage = isinstance(error, pa.ArrowInvalid) or (is_local and type(error) is OSError)
    code = ErrorCode.UNREADABLE_IMAGE if is_damage and not strerror else ErrorCode.SOURCE_MISSING
    return ItemError(code, detail)


def _local_path(container: str) -> Path | None:
    if container.lower().startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(urlsplit(container).path)))
    return None if "://" in container else Path(container)


def _opened(container: str, path: Path | None) -> Any:  # noqa: ANN401 - Arrow's or fsspec's
    if path is None:
        return fsspec.open(container, "rb").open()
    # Not mapped into memory: a mapped file that is cut short kills the process.
    return pa.OSFile(os.fsencode(path))


def _values(array: pa.Array, column: BytesColumn) -> list[Value]:
    paths = None
    if column.is_struct:
        names = [child.name for child in array.type]
        children = array.flatten()  # with the struct's own nulls
        array = children[names.index("bytes")]
        paths = children[names.index("path")] if "path" in names else None
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    limit = column.max_bytes + 1
    return [
        bytes(memoryview(scalar.as_buffer())[:limit])
        if scalar.is_valid
        else str((paths[index].as_py() if paths is not None else None) or "")
        for index, scalar in enumerate(array)
    ]
