"""Manifest files as a stream of Arrow tables: CSV, TSV, JSON Lines and Parquet."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import PurePosixPath
from typing import IO

import pyarrow as pa
import pyarrow.csv as pa_csv

from vision_pipeline.adapters.sources.batches import BATCH_ROWS
from vision_pipeline.adapters.sources.file_systems import check_regular, connect, scheme_of
from vision_pipeline.adapters.sources.json_lines import open_json_lines
from vision_pipeline.adapters.sources.parquet_manifest import ImageColumn, open_parquet
from vision_pipeline.adapters.sources.text_blocks import Opened, TextBlocks
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.plain_text import plain

_PARQUET_SUFFIX = ".parquet"
MANIFEST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", _PARQUET_SUFFIX)
_PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")

_TYPE_EXAMPLES = "string, int64, float64, bool, date32, timestamp[us] or the like"
_GUESSED = {".csv": ",", ".tsv": "\t"}  # the delimiters
_HINTS = dict.fromkeys(
    _GUESSED, " (types are guessed from the beginning: source.column_types sets them)"
) | dict.fromkeys(
    (".jsonl", ".ndjson"),
    " (one JSON object a line; the image column holds text, a path or URL; any other column holds "
    "values of one type)",
)
_SNIFFED_BYTES = 4096
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_OTHER_DELIMITERS = re.compile(r"[;\t|,]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Table:
    """A manifest file, opened.

    Attributes:
        location: Local path or URL.
        schema: Of the batches.
        batches: At most `BATCH_ROWS` rows each, once; the image column is text.
        images: How the file holds its images.
    """

    location: str
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    images: ImageColumn


def manifest_suffix(location: str) -> str | None:
    """The suffix that says how a manifest is written, or None where it is no manifest's."""
    name = _name(location)
    suffix = PurePosixPath(name.stem).suffix if is_packed(location) else name.suffix
    return suffix if suffix in MANIFEST_SUFFIXES else None


def is_packed(location: str) -> bool:
    """Whether a manifest is compressed as a whole."""
    return _name(location).suffix in _PACKED_SUFFIXES


def read_table(
    location: str,
    *,
    image_column: str,
    name_columns: Collection[str] = (),
    column_types: Mapping[str, str],
) -> Iterator[Table]:
    """Open a manifest and yield it once, or not at all where it is empty.

    Args:
        location: Local path or URL that fsspec knows.
        image_column: Text whatever its values look like; in Parquet perhaps the images' bytes.
        name_columns: Columns that are text where types are guessed, as in CSV: 0071 is not 71.
        column_types: Arrow's name of the type, for columns whose type is not to be guessed.

    Raises:
        SourceError: The file is missing or cannot be parsed, or a column or type is unknown; also
            while batches are taken. A `DamagedTableError` where that is Parquet.
    """
    suffix = manifest_suffix(location)
    if suffix is None:
        allowed = ", ".join(MANIFEST_SUFFIXES)
        raise SourceError(f"{location}: a manifest's name ends in one of {allowed}")
    types = _types(column_types)
    if suffix in _GUESSED:
        types = dict.fromkeys(name_columns, pa.string()) | types
    opened = partial(_opened, location)
    with _explained(location), ExitStack() as stack:
        if suffix == _PARQUET_SUFFIX:
            schema, batches, images = open_parquet(
                stack.enter_context(opened()),
                location=location,
                image_column=image_column,
                types=types,
                batch_rows=BATCH_ROWS,
            )
        elif _is_empty(opened, location):
            return
        else:
            types |= {image_column: pa.string()}
            if suffix in _GUESSED:
                schema, batches = _csv(opened, types, location, delimiter=_GUESSED[suffix])
            else:
                schema, batches = open_json_lines(
                    opened, types, location=location, image_column=image_column
                )
            images = ImageColumn(image_column, pa.string(), leaf=image_column)
        for name in column_types:
            require_column(name, schema, location=location, key="source.column_types")
        yield Table(location, schema, _cut(batches, location), images)


def require_column(name: str, schema: pa.Schema, *, location: str, key: str) -> None:
    """See that a configured column is there.

    Raises:
        SourceError: It is not, with the columns that are and the most similar one.
    """
    if name in schema.names:
        return
    similar = get_close_matches(name, schema.names, 1, cutoff=0.5)
    hint = f"; did you mean {similar[0]!r}?" if similar else ""
    if len(schema.names) == 1 and (mark := _OTHER_DELIMITERS.search(schema.names[0])):
        hint = f"; its delimiter seems to be {mark[0]!r}: save it with commas, or with tabs as .tsv"
    columns = ", ".join(schema.names)
    raise SourceError(f"{location}: no column {name!r} ({key}); there are: {columns}{hint}")


def _types(column_types: Mapping[str, str]) -> dict[str, pa.DataType]:
    types = {}
    for column, name in column_types.items():
        try:
            types[column] = pa.type_for_alias(name)
        except ValueError as error:
            detail = (
                f"source.column_types: {column}: there is no type {name!r}; use {_TYPE_EXAMPLES}"
            )
            raise SourceError(detail) from error
    return types


def _name(location: str) -> PurePosixPath:
    return PurePosixPath(location.lower().partition("?")[0])


def _opened(location: str) -> IO[bytes]:
    file_system, path = connect(location)
    if scheme_of(location) in {None, "file"}:
        check_regular(path)
    return file_system.open(path, "rb", compression="infer")


def _is_empty(opened: Opened, location: str) -> bool:
    with opened() as file:
        head = file.read(_SNIFFED_BYTES)
        if head.startswith(_WIDE_MARKS) or b"\0" in head:
            raise SourceError(
                f"{location}: its encoding is not UTF-8, but perhaps UTF-16 or UTF-32; save it as "
                "UTF-8"
            )
        piece = head.removeprefix(_BYTE_ORDER_MARK)
        while piece and not piece.strip():
            piece = file.read(_SNIFFED_BYTES)
        return not piece


def _cut(batches: Iterator[pa.RecordBatch], location: str) -> Iterator[pa.RecordBatch]:
    with _explained(location):
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


@contextmanager
def _explained(location: str) -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # pyarrow's, the operating system's, each file system's own
        raise SourceError(_complaint(location, error)) from error


def _complaint(location: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{location}: there is no such manifest"
    hint = ""
    if isinstance(error, pa.ArrowInvalid):
        hint = _HINTS.get(manifest_suffix(location) or "", "")
    return f"{location}: cannot be read: {plain(str(error))}{hint}"


def _csv(
    opened: Opened, types: Mapping[str, pa.DataType], location: str, *, delimiter: str
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    def parse(
        file: IO[bytes], types: Mapping[str, pa.DataType], *, block_bytes: int
    ) -> pa.RecordBatchReader:
        return pa_csv.open_csv(
            file,
            # One thread: errors then name the row.
            read_options=pa_csv.ReadOptions(block_size=block_bytes, use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )

    blocks = TextBlocks(opened, parse)
    schema = blocks.guess(types)
    for field in schema:
        if pa.types.is_binary(field.type) and field.name not in types:
            detail = f"the column {field.name!r} is not UTF-8; save the file as UTF-8"
            raise SourceError(f"{location}: {detail}")
    return schema, blocks.batches(dict(zip(schema.names, schema.types, strict=True)))
