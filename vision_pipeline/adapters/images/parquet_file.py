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

from vision_pipeline.adapters.images.containers import read_range
from vision_pipeline.adapters.images.passed_rows import MEBIBYTE, Value
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.parquet_pages import DamagedPageError, Page, pages_of

# Any row may be the one large one of its page, and dictionaries repeat one a thousand times. A row
# at a time costs some 15 µs.
_BATCH_ROWS = 1
# A request to an object store costs as long as some megabytes of it.
_LOCAL_BUFFER_BYTES, _REMOTE_BUFFER_BYTES = MEBIBYTE, 8 * MEBIBYTE
# A page as stored, as unpacked, and the dictionary's page.
_PAGES_HELD = 3


class BytesColumn:
    """An open file and the column of it that holds the images' bytes.

    Args:
        container: Local path, `file:` URL or URL that fsspec knows.
        column: Binary, or a struct with the binary child `bytes` and perhaps the child `path`.
        version: Modification time in ns that a local file must have, or "" for any.
        max_bytes: Of a longer value, so many bytes and one are read.
        max_page_bytes: No row is read for which a larger page had to be unpacked.

    Raises:
        ItemError: `source_missing`: the file is not there, has changed since it was listed, or
            has no such column; `unreadable_image`: it is damaged, or no Parquet file.
    """

    def __init__(
        self, container: str, column: str, *, version: str, max_bytes: int, max_page_bytes: int
    ) -> None:
        self.column = column
        self.max_bytes = max_bytes
        self._max_page_bytes = max_page_bytes
        self._container = container
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
            ItemError: `source_missing`: the file has fewer rows; `unreadable_image` or
                `image_too_large`: it is known to be damaged there, or to have too large a page.
        """
        if row >= self.starts[-1]:
            detail = f"there is no row {row}: the file has {self.starts[-1]} rows, counted from 0"
            raise ItemError(ErrorCode.SOURCE_MISSING, detail)
        group = bisect_right(self.starts, row) - 1
        if group in self._damage and row >= self._damage[group][0]:
            known = self._damage[group][1]
            raise ItemError(known.code, known.detail)
        return group

    def look_ahead(self, group: int) -> tuple[int, int]:
        """How many rows of a group can be read, and the size of the largest page on the way.

        What is wrong with the next row is remembered. Costs a short read for each page.

        Raises:
            ItemError: As reading does, where the headers of pages cannot be read.
        """
        rows, largest_bytes = self.starts[group + 1] - self.starts[group], 0
        metadata = self.file.metadata.row_group(group)
        chunks = [metadata.column(index) for index in range(metadata.num_columns)]
        for chunk in chunks:
            if chunk.path_in_schema in self.leaves:
                sound, some_bytes, fault = self._sound(chunk)
                largest_bytes = max(largest_bytes, some_bytes)
                if fault is not None and sound <= rows:
                    rows = sound
                    self._damage[group] = (self.starts[group] + rows, fault)
        return rows, largest_bytes

    def _sound(self, chunk: Any) -> tuple[int, int, ItemError | None]:  # noqa: ANN401 - no types
        """Rows in front of a page that is refused, their largest page, and why it is."""
        rows, largest_bytes = 0, 0
        try:
            for page in self._pages(chunk):
                if page.size_bytes > self._max_page_bytes:
                    return rows, largest_bytes, _too_large(page, self._max_page_bytes)
                rows += page.rows
                largest_bytes = max(largest_bytes, page.size_bytes)
        except DamagedPageError as error:
            return rows, largest_bytes, self.unreadable(error)
        except Exception as error:  # each file system's own
            raise self.unreadable(error) from error
        return rows, largest_bytes, None

    def _pages(self, chunk: Any) -> Iterator[Page]:  # noqa: ANN401 - pyarrow has no types
        # As Arrow finds the first one.
        start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
        end = start + chunk.total_compressed_size
        return pages_of(self._read_at, start=start, end=end, rows=chunk.num_values)

    def _read_at(self, at: int, size: int) -> bytes:
        if self._path is None:
            return read_range(self._container, at, size)
        self._source.seek(at)
        return bytes(self._source.read(size))

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
        end_row: The row after the group's last one that can be read.
        held_bytes: Memory that it may take while it is not at its end, estimated.
    """

    def __init__(self, column: BytesColumn, group: int) -> None:
        self._column = column
        rows, largest_bytes = column.look_ahead(group)
        self.next_row = column.starts[group]
        self.end_row = self.next_row + rows
        self.held_bytes = _PAGES_HELD * largest_bytes
        self._batches = column.file.iter_batches(
            _BATCH_ROWS, row_groups=[group], columns=column.leaves, use_threads=False
        )

    @property
    def is_done(self) -> bool:
        """Whether all rows of the group that can be were decoded."""
        return self.next_row >= self.end_row

    def decoded(self) -> Iterator[tuple[int, Value]]:
        """The next row, or some.

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


def _too_large(page: Page, max_page_bytes: int) -> ItemError:
    detail = (
        f"a page of the Parquet file unpacks to {page.size_bytes} bytes, more than "
        f"{max_page_bytes}, a quarter of image.max_decode_bytes: raise it, or write the file with "
        "row_group_size=100"
    )
    return ItemError(ErrorCode.IMAGE_TOO_LARGE, detail)


def _unreadable(error: BaseException, *, is_local: bool) -> ItemError:
    """What a row says of a file that cannot be read."""
    strerror = getattr(error, "strerror", None)
    detail = strerror or f"the Parquet file cannot be read: {type(error).__name__}: {error}"
    # Of the two that Arrow raises for damage, one is also what stores raise that are out of reach.
    is_damage = isinstance(error, (pa.ArrowInvalid, DamagedPageError)) or (
        is_local and type(error) is OSError
    )
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
