"""JSON Lines manifests: what Arrow is given of them, and what is wrong with what it refuses."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import IO, Any, cast

import orjson
import pyarrow as pa
import pyarrow.json as pa_json

from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.json_nesting import NestingMeter

# Parquet, into which a run's manifest is frozen, reads lists up to some 50 deep.
_MOST_NESTED = 32
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ALLOWED = "the image column holds text, a path or URL; any other one values of one type"
_KINDS = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def open_json_lines(
    file: IO[bytes],
    types: Mapping[str, pa.DataType],
    *,
    location: str,
    image_column: str,
    block_bytes: int,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The columns and the batches of a manifest.

    Args:
        file: Seekable, at its beginning.
        types: Of columns whose type is not to be guessed.
        location: How messages name it.
        image_column: Holds text.
        block_bytes: How much is parsed at once; no line may be longer.

    Raises:
        SourceError: A line cannot be read; also while batches are taken.
    """
    lines = _Lines(file, location, block_bytes)
    try:
        # Arrow reads a text like 2026-01-01 as a time of day zero; in JSON it is a text.
        guessed = lines.reader(types).schema
        texts = {
            name: pa.string()
            for name, kind in zip(guessed.names, guessed.types, strict=True)
            if pa.types.is_timestamp(kind) and name not in types
        }
        reader = lines.reader({**texts, **types})
    except pa.ArrowInvalid as error:
        raise lines.explained(error, image_column) from error
    return reader.schema, _batches(reader, lines, image_column)


def _batches(
    reader: pa.RecordBatchReader, lines: _Lines, image_column: str
) -> Iterator[pa.RecordBatch]:
    try:
        for batch in reader:
            batch.validate(full=True)  # texts that are no UTF-8 are not refused before
            yield batch
    except pa.ArrowInvalid as error:
        raise lines.explained(error, image_column) from error


class _Lines:
    """A file of JSON Lines that may be read several times."""

    def __init__(self, file: IO[bytes], location: str, block_bytes: int) -> None:
        self._file = file
        self._location = location
        self._block_bytes = block_bytes

    def reader(self, types: Mapping[str, pa.DataType]) -> pa.RecordBatchReader:
        """Arrow's reader, from the beginning."""
        self._file.seek(0)
        return pa_json.open_json(
            _Shallow(self._file, self._location),
            read_options=pa_json.ReadOptions(block_size=self._block_bytes, use_threads=False),
            parse_options=pa_json.ParseOptions(explicit_schema=pa.schema(list(types.items()))),
        )

    def explained(self, error: pa.ArrowInvalid, image_column: str) -> Exception:
        """Arrow's error, or one that names the line; Arrow counts rows from the last block on."""
        self._file.seek(0)
        kinds: dict[str, str] = {image_column: "text"}
        number = 0
        while line := self._file.readline(self._block_bytes + 1):
            number += 1
            if len(line) > self._block_bytes:
                fault: str | None = f"is longer than {self._block_bytes} bytes"
            else:
                fault = _fault(line.removeprefix(_BYTE_ORDER_MARK).strip(), kinds)
            if fault is not None:
                return SourceError(f"{self._location}: line {number} {fault}")
        return cast("Exception", error)


def _fault(line: bytes, kinds: dict[str, str]) -> str | None:
    """What is wrong with a line, or None; `kinds` are those of each column before."""
    if not line:
        return None
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"is no JSON in UTF-8: {error.msg} (column {error.colno})"
    if not isinstance(value, dict):
        return f"is {_kind(value)}; a line holds one JSON object"
    for name, each in value.items():
        kind = _kind(each)
        before = kinds.setdefault(name, kind) if each is not None else kind
        if kind != before:
            return f"has {kind} in {name!r}, where {before} is expected: {_ALLOWED}"
    return None


def _kind(value: Any) -> str:  # noqa: ANN401 - any JSON
    return _KINDS.get(type(value), "null")


class _Shallow(io.RawIOBase):
    """A file whose reading fails where it is nested so deep that Arrow's parser would crash."""

    def __init__(self, file: IO[bytes], location: str) -> None:
        super().__init__()
        self._file = file
        self._location = location
        self._meter = NestingMeter(_MOST_NESTED)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        piece = self._file.read(size)
        if not self._meter.take(piece):
            raise SourceError(
                f"{self._location}: line {self._meter.line} nests lists or objects more than "
                f"{_MOST_NESTED} deep; leave that column out, or write it as text"
            )
        return piece
