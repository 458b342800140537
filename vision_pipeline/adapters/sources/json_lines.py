"""JSON Lines manifests: what Arrow is given of them, and what is wrong with what it refuses."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.json as pa_json

from vision_pipeline.adapters.sources.text_blocks import BLOCK_SIZES, Opened, TextBlocks
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
    opened: Opened, types: Mapping[str, pa.DataType], *, location: str, image_column: str
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The columns and the batches of a manifest.

    Args:
        opened: Opens it.
        types: Of columns whose type is not to be guessed.
        location: How messages name it.
        image_column: Holds text.

    Raises:
        SourceError: A line cannot be read; also while batches are taken.
    """

    def parse(
        file: IO[bytes], types: Mapping[str, pa.DataType], *, block_bytes: int
    ) -> pa.RecordBatchReader:
        return pa_json.open_json(
            _Shallow(file, location),
            read_options=pa_json.ReadOptions(block_size=block_bytes, use_threads=False),
            parse_options=pa_json.ParseOptions(explicit_schema=pa.schema(list(types.items()))),
        )

    blocks = TextBlocks(opened, parse)

    def batches(schema: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        with _explained(opened, location, image_column):
            for batch in blocks.batches(schema):
                batch.validate(full=True)  # texts that are no UTF-8 are not refused before
                yield batch

    with _explained(opened, location, image_column):
        guessed = blocks.guess(types)
    kinds = dict(zip(guessed.names, guessed.types, strict=True))
    # Arrow reads a text like 2026-01-01 as a time of day zero; in JSON it is a text.
    texts = {
        name: pa.string()
        for name, kind in kinds.items()
        if pa.types.is_timestamp(kind) and name not in types
    }
    schema = {**texts, **types, **{name: texts.get(name, kind) for name, kind in kinds.items()}}
    return pa.schema(list(schema.items())), batches(schema)


@contextmanager
def _explained(opened: Opened, location: str, image_column: str) -> Iterator[None]:
    """Name the line of what Arrow refuses; Arrow counts rows from the last block on."""
    try:
        yield
    except pa.ArrowInvalid as error:
        complaint = _complaint(opened, image_column)
        if complaint is None:
            raise
        raise SourceError(f"{location}: {complaint}") from error


def _complaint(opened: Opened, image_column: str) -> str | None:
    kinds: dict[str, str] = {image_column: "text"}
    number, most = 0, BLOCK_SIZES[-1]
    with opened() as file:
        while line := file.readline(most + 1):
            number += 1
            if len(line) > most:
                return f"line {number} is longer than {most} bytes"
            fault = _fault(line.removeprefix(_BYTE_ORDER_MARK).strip(), kinds)
            if fault is not None:
                return f"line {number} {fault}"
    return None


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
