"""Parquet manifests: paths of images, or their bytes, which are never read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from vision_pipeline.adapters.sources.file_systems import scheme_of
from vision_pipeline.core.errors import SourceError

_ALLOWED = "text (paths or URLs), binary (the images' bytes) or a struct of bytes and path"
# The names that the data sets of the Hugging Face hub gave these children.
_BYTES, _PATH = "bytes", "path"


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """How a manifest holds its images.

    Attributes:
        name: The column's name.
        type: Its Arrow type in the file, or None where there is no such column.
        has_bytes: Whether it holds the images themselves.
        leaf: What to read of it, as Parquet names it; None where nothing but bytes is there.
    """

    name: str
    type: pa.DataType | None
    has_bytes: bool = False
    leaf: str | None = None


class DamagedTableError(SourceError):
    """A Parquet file is damaged, or none."""


def open_parquet(
    file: IO[bytes],
    *,
    location: str,
    image_column: str,
    types: Mapping[str, pa.DataType],
    batch_rows: int,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch], ImageColumn]:
    """A Parquet manifest: its schema and its batches, in which the image column is text.

    Of images that the file holds, the text is the path beside their bytes, or null. Other columns
    with the bytes of images (structs with the child `bytes`, and lists of them) are left out.

    Args:
        file: Seekable.
        location: How messages name it.
        image_column: Bytes in it are taken for text where `types` says string.
        types: Of columns that are to be cast.
        batch_rows: Rows of a batch, at most.

    Raises:
        SourceError: The image column holds something else.
        DamagedTableError: The file cannot be parsed; also while batches are taken.
    """
    with _parsed(location):
        parquet = pa_parquet.ParquetFile(file)
    layout = parquet.schema_arrow
    images = _image_column(parquet, image_column, types, location)
    fields, leaves = [], []
    for field in layout:
        if field.name == image_column:
            fields.append(pa.field(image_column, pa.string()))
            leaves += [images.leaf] if images.leaf else []
        elif not _has_images(field.type):
            fields.append(pa.field(field.name, types.get(field.name) or _without_views(field.type)))
            leaves.append(field.name)
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        undecoded = parquet.iter_batches(batch_rows, columns=leaves)
        while (batch := _next_of(undecoded, location)) is not None:
            cast = [
                _texts(batch, images)
                if field.name == image_column
                else _cast(batch.column(field.name), field.type)
                for field in schema
            ]
            yield pa.RecordBatch.from_arrays(cast, schema=schema)

    return schema, batches(), images


@contextmanager
def _parsed(location: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        # Of the two that Arrow raises for damage, one is also what stores raise out of reach.
        is_arrows = type(error) is OSError and error.errno is None and not scheme_of(location)
        if not (is_arrows or isinstance(error, pa.ArrowInvalid)):
            raise
        raise DamagedTableError(f"{location}: cannot be read: {error}") from error


def _next_of(batches: Iterator[pa.RecordBatch], location: str) -> pa.RecordBatch | None:
    with _parsed(location):
        return next(batches, None)


def _image_column(
    parquet: Any,  # noqa: ANN401 - pyarrow has no types
    name: str,
    types: Mapping[str, pa.DataType],
    location: str,
) -> ImageColumn:
    if name not in parquet.schema_arrow.names:
        return ImageColumn(name, None)
    kind = parquet.schema_arrow.field(name).type
    if _is_text(kind) or (name in types and _is_text(types[name])):
        return ImageColumn(name, kind, leaf=name)
    if _is_bytes(kind):
        return ImageColumn(name, kind, has_bytes=True)
    children = {child.name: child.type for child in kind} if pa.types.is_struct(kind) else {}
    has_bytes = _is_bytes(children.get(_BYTES))
    has_paths = _is_text(children.get(_PATH))
    leaf = f"{name}.{_PATH}" if has_paths else None
    if has_bytes and not (has_paths and _is_empty(parquet.metadata, f"{name}.{_BYTES}")):
        return ImageColumn(name, kind, has_bytes=True, leaf=leaf)
    if has_paths and (has_bytes or _BYTES not in children):
        return ImageColumn(name, kind, leaf=leaf)
    raise SourceError(f"{location}: the column {name!r} is {kind}; it may be {_ALLOWED}")


def _texts(batch: pa.RecordBatch, images: ImageColumn) -> pa.Array:
    if images.leaf is None:
        return pa.nulls(batch.num_rows, pa.string())
    array = batch.column(images.name)
    # Flattened, the child has the nulls of its struct as well as its own.
    return _cast(array.flatten()[0] if pa.types.is_struct(array.type) else array, pa.string())


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)


def _is_text(kind: pa.DataType | None) -> bool:
    if kind is None:
        return False
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    is_string = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(is_string or pa.types.is_string_view(kind) or pa.types.is_null(kind))


def _is_bytes(kind: pa.DataType | None) -> bool:
    if kind is None:
        return False
    if pa.types.is_dictionary(kind):
        return _is_bytes(kind.value_type)
    is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return bool(is_binary or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind))


def _has_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(
            (child.name == _BYTES and _is_bytes(child.type)) or _has_images(child.type)
            for child in kind
        )
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_list or pa.types.is_fixed_size_list(kind)) and _has_images(kind.value_type)


def _without_views(kind: pa.DataType) -> pa.DataType:
    """The type with plain texts and bytes for views of them, whose rows Arrow cannot pick."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([child.with_type(_without_views(child.type)) for child in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)))
    return kind


def _is_empty(metadata: Any, leaf: str) -> bool:  # noqa: ANN401 - pyarrow has no types
    """Whether the file's own statistics say that a column is null in all its rows."""
    return all(
        _is_null_throughout(metadata.row_group(group), leaf)
        for group in range(metadata.num_row_groups)
    )


def _is_null_throughout(group: Any, leaf: str) -> bool:  # noqa: ANN401 - pyarrow has no types
    chunks = (group.column(index) for index in range(group.num_columns))
    statistics = next(each for each in chunks if each.path_in_schema == leaf).statistics
    return bool(
        statistics is not None
        and statistics.has_null_count
        and statistics.null_count == group.num_rows
    )
