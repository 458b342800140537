"""Images whose bytes are values of a Parquet column."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vision_pipeline.adapters.images.parquet_file import BytesColumn, Cursor
from vision_pipeline.adapters.images.passed_rows import MEBIBYTE, PassedRows, Value
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.members import Member, is_damaged
from vision_pipeline.core.records import ImageRef

_MAX_COLUMNS = 16
_MAX_CURSORS = 8
_CURSOR_BYTES = 256 * MEBIBYTE
# Rows kept before the first one that is asked of a group: what runs beside it may begin earlier.
_KEPT_BEFORE_ROWS = 8192


class PathInsteadError(ItemError):
    """A row has no bytes, but says where they are.

    Attributes:
        path: As it stands there.
    """

    def __init__(self, row: int, path: str) -> None:
        super().__init__(
            ErrorCode.SOURCE_MISSING, f"row {row} has no bytes, only the path {path!r}"
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class _ColumnKey:
    container: str
    version: str
    name: str
    max_bytes: int


_GroupKey = tuple[_ColumnKey, int]


class ParquetReader:
    """Reads rows in about any order, while Parquet can only be decoded forward.

    Each row group has at most one cursor, and what it passes over is kept for those who ask later,
    so that a group is decoded once, however many shards move through it side by side. A cursor that
    must give way to another is first led to its end.

    Memory is that of `passed`, of the rows being returned, and of the cursors: 256 MiB in all, or
    a single one where that is larger. One holds up to three pages of the file, and Arrow's writer
    makes a page of the bytes of up to 1024 rows: of 100 MB for images of 100 kB, unless the file's
    row groups are smaller.

    Args:
        max_page_bytes: Rows for which a larger page had to be unpacked are refused.
        folder: Where rows that wait and fit no memory are kept, up to 8 GiB; None for `TMPDIR`.
        passed: The store of such rows, in place of the usual one.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        max_page_bytes: int = 512 * MEBIBYTE,
        passed: PassedRows | None = None,
    ) -> None:
        self._max_page_bytes = max_page_bytes
        self._passed = PassedRows(folder=folder) if passed is None else passed
        self._decoder = _one_thread()
        self._columns: OrderedDict[_ColumnKey, BytesColumn] = OrderedDict()
        self._cursors: OrderedDict[_GroupKey, Cursor] = OrderedDict()
        self._visited: set[_GroupKey] = set()

    def read(self, member: Member, ref: ImageRef, *, max_bytes: int) -> bytes:
        """One row's bytes, at most `max_bytes` + 1 of them.

        Args:
            member: Its name is `column/row`, rows counted from 0 over the whole file.
            ref: Its version is that of the file; a local file of another one is refused.
            max_bytes: More is not returned; the caller refuses it.

        Raises:
            PathInsteadError: The row has no bytes, but the path beside them.
            ItemError: `source_missing`: no such file, column or row, the row has no bytes, or the
                file has changed since it was listed; `unreadable_image`: the file is damaged;
                `image_too_large`: the row lies in or behind a page above `max_page_bytes`.
        """
        column, _, number = member.name.rpartition("/")
        if is_damaged(number):
            key = _ColumnKey(member.container, ref.version, column, max_bytes)
            raise self._decoder.submit(self._damage, key, number).result()
        if not (number.isascii() and number.isdigit()):
            raise ItemError(ErrorCode.SOURCE_MISSING, f"{member.name!r} names no row of a column")
        key, row = _ColumnKey(member.container, ref.version, column, max_bytes), int(number)
        value = self._passed.take((key, row))
        if value is None:
            value = self._decoder.submit(self._sought, key, row).result()
        if isinstance(value, bytes):
            return value
        if value:
            raise PathInsteadError(row, value)
        raise ItemError(ErrorCode.SOURCE_MISSING, f"row {row} has no bytes")

    def close(self) -> None:
        """Close all files and forget the rows that nobody asked for; reading opens them again.

        No read may be under way.
        """
        self._decoder.shutdown()
        self._decoder = _one_thread()
        self._cursors.clear()
        self._visited.clear()
        while self._columns:
            self._columns.popitem()[1].close()
        self._passed.close()

    def _damage(self, key: _ColumnKey, name: str) -> ItemError:
        """What there is to say of rows that could not be listed."""
        try:
            self._column(key)
        except ItemError as error:
            if error.code is ErrorCode.UNREADABLE_IMAGE:
                return error
        return ItemError(ErrorCode.UNREADABLE_IMAGE, f"the Parquet file cannot be read: {name}")

    def _sought(self, key: _ColumnKey, row: int) -> Value:
        value = self._passed.take((key, row))
        return self._decoded(key, row) if value is None else value

    def _decoded(self, key: _ColumnKey, row: int) -> Value:
        column = self._column(key)
        group = column.group_of(row)
        cursor = self._cursors.pop((key, group), None)
        if cursor is None or cursor.next_row > row:
            cursor = Cursor(column, group)
            column.group_of(row)  # as the headers of its pages tell by now
        self._make_room(cursor.held_bytes)
        keep_from = 0 if (key, group) in self._visited else row - _KEPT_BEFORE_ROWS
        self._visited.add((key, group))
        wanted = self._advanced(cursor, key, row, keep_from=keep_from)
        if not cursor.is_done:
            self._cursors[key, group] = cursor
        return wanted

    def _advanced(self, cursor: Cursor, key: _ColumnKey, row: int, *, keep_from: int = 0) -> Value:
        """Decode up to a row and give that one, "" where the group ends before; keep others."""
        wanted: Value = ""
        while cursor.next_row <= row and not cursor.is_done:
            for number, value in cursor.decoded():
                if number == row:
                    wanted = value
                elif number >= keep_from:
                    self._passed.put((key, number), value)
        return wanted

    def _make_room(self, wanted_bytes: int) -> None:
        while self._cursors and (
            len(self._cursors) >= _MAX_CURSORS
            or wanted_bytes + sum(each.held_bytes for each in self._cursors.values())
            > _CURSOR_BYTES
        ):
            (key, _), cursor = self._cursors.popitem(last=False)
            # Not this request's failure: whoever asks for the row that is damaged hears of it.
            with suppress(ItemError):
                self._advanced(cursor, key, cursor.end_row)

    def _column(self, key: _ColumnKey) -> BytesColumn:
        if key not in self._columns:
            while len(self._columns) >= _MAX_COLUMNS:
                self._forget(next(iter(self._columns)))
            self._columns[key] = BytesColumn(
                key.container,
                key.name,
                version=key.version,
                max_bytes=key.max_bytes,
                max_page_bytes=self._max_page_bytes,
            )
        self._columns.move_to_end(key)
        return self._columns[key]

    def _forget(self, key: _ColumnKey) -> None:
        for group in [each for each in self._cursors if each[0] == key]:
            del self._cursors[group]
        self._columns.pop(key).close()


def _one_thread() -> ThreadPoolExecutor:
    # Allocators keep what each thread freed for that thread: 32 that decode in turn take 400 MB
    # where one takes 90. It also serves those who wait in the order in which they came.
    return ThreadPoolExecutor(1, thread_name_prefix="parquet")
