"""Files of true answers: CSV, JSON Lines or Parquet, column by column."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

import fsspec
import orjson
import pyarrow.parquet as pq

from vision_pipeline.core.comparing.comparers import read_boolean
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.suggestions import nearest

CHECKED = "checked"
_SEPARATORS = ",;\t"
_MOST_PARTS = 4  # of a nested name


class Unknown(Enum):
    """In place of a value that a row does not tell, unlike None, which says "nothing"."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Truth:
    """True answers.

    Attributes:
        file: Where they were read.
        columns: Values by column, all of one length; those inside objects under dotted names too.
        unchecked: Rows left out since nobody has checked them.
    """

    file: str
    columns: Mapping[str, Sequence[Any]]
    unchecked: int = 0

    @property
    def count(self) -> int:
        """How many rows."""
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str) -> Sequence[Any]:
        """The values of a column.

        Raises:
            ConfigError: There is none of that name.
        """
        if name not in self.columns:
            there = ", ".join(self.columns)
            raise ConfigError(
                f"{self.file}: no column {name!r}; there are: {there}{nearest(name, self.columns)}"
            )
        return self.columns[name]


def read_truth(file: str, *, unchecked: bool = False) -> Truth:
    """Read a file of true answers, local or behind a URL; its ending tells its format.

    Args:
        file: CSV, TSV, JSON Lines, JSON (an array of objects) or Parquet.
        unchecked: Whether to take rows that a column `checked` does not mark, too.

    Raises:
        ConfigError: It cannot be read, has no rows, or nobody has checked any of them.
    """
    columns = _read(file)
    count = len(next(iter(columns.values()), ()))
    if not count:
        raise ConfigError(f"{file}: no rows; a truth has one row an image")
    if unchecked or CHECKED not in columns:
        return Truth(file, columns)
    keep = [place for place, mark in enumerate(columns[CHECKED]) if read_boolean(mark)]
    if not keep:
        raise ConfigError(
            f"{file}: no row is checked; write `x` into the column `checked` of those that you "
            "have corrected, or take all of them with --unchecked"
        )
    kept = {name: [values[place] for place in keep] for name, values in columns.items()}
    return Truth(file, kept, unchecked=count - len(keep))


def _read(file: str) -> dict[str, list[Any]]:
    ending = PurePosixPath(file).suffix.lower()
    readers = {
        ".csv": _csv, ".tsv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines,
        ".json": _json, ".parquet": _parquet,
    }  # fmt: skip
    if ending not in readers:
        raise ConfigError(f"{file}: not a truth by its ending; allowed: {', '.join(readers)}")
    try:
        return readers[ending](file)
    except ConfigError:
        raise
    except FileNotFoundError:
        where = ", or its server does not answer" if "://" in file else ""
        raise ConfigError(f"{file}: there is no such file{where}") from None
    except Exception as error:  # each format and backend has its own
        raise ConfigError(f"{file}: cannot be read: {error}") from error


def _csv(file: str) -> dict[str, list[Any]]:
    # All of it as text: a guess would turn 0042 into 42 and NA into nothing.
    with fsspec.open(file, "rt", encoding="utf-8-sig", newline="") as lines:
        head = lines.readline()
        lines.seek(0)
        rows = csv.reader(lines, delimiter=max(_SEPARATORS, key=head.count), strict=True)
        names = next(rows, [])
        cells: list[list[str]] = [[] for _ in names]
        for row in filter(None, rows):
            if len(row) > len(names):
                raise ConfigError(
                    f"{file}: line {rows.line_num}: {len(row)} cells, of {len(names)} columns"
                )
            ends_early = [""] * (len(names) - len(row))
            for column, cell in zip(cells, row + ends_early, strict=True):
                column.append(cell)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{file}: several columns are called {twice[0]!r}")
    columns: dict[str, list[Any]] = {}
    for name, column in zip(names, cells, strict=True):
        columns |= _objects(name, column)
    return columns


def _objects(name: str, cells: list[str]) -> dict[str, list[Any]]:
    """A column of text; one of JSON objects, blank cells aside, with their parts."""
    if not all(cell.startswith("{") or not cell for cell in cells) or not any(cells):
        return {name: cells}
    try:
        values = [orjson.loads(cell) if cell else None for cell in cells]
    except orjson.JSONDecodeError:
        return {name: cells}
    return _columns([{name: value} for value in values])


def _json_lines(file: str) -> dict[str, list[Any]]:
    with fsspec.open(file, "rb") as lines:
        rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    return _columns([_row(file, number, line) for number, line in rows])


def _row(file: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{file}: line {number}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ConfigError(f"{file}: line {number}: not an object, such as {{...}}")
    return row


def _json(file: str) -> dict[str, list[Any]]:
    with fsspec.open(file, "rb") as source:
        rows = orjson.loads(source.read())
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{file}: not an array of objects, such as [{{...}}, {{...}}]")
    return _columns(rows)


def _parquet(file: str) -> dict[str, list[Any]]:
    with fsspec.open(file, "rb") as source:
        return _columns(pq.read_table(source).to_pylist())


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for place, row in enumerate(rows):
        for name, value in _flat(row):
            column = columns.setdefault(name, [UNKNOWN] * len(rows))
            column[place] = value
    return columns


def _flat(row: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        name = f"{within}{key}"
        yield name, value
        if isinstance(value, Mapping) and name.count(".") < _MOST_PARTS - 1:
            yield from _flat(value, f"{name}.")
