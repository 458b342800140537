"""The shard files of a run as an Arrow dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

_MODE = pa.field("mode", pa.string())  # files of earlier versions lack it


@dataclass(frozen=True, slots=True)
class Shards:
    """The finished shards of one run.

    Attributes:
        run_id: Whose they are.
        paths: At least one, in their order.
        schema: Their columns; dictionaries as plain values, so that runs with other labels fit
            together.
        filesystem: Where they are, for Arrow.
    """

    run_id: str
    paths: tuple[str, ...]
    schema: pa.Schema
    filesystem: fs.FileSystem

    def dataset(self, schema: pa.Schema | None = None) -> ds.Dataset:
        """The rows; of another schema's columns, those that the files lack are null."""
        return ds.dataset(
            list(self.paths),
            format="parquet",
            filesystem=self.filesystem,
            schema=schema or self.schema,
        )

    def with_columns_of(self, others: Iterable[Shards]) -> ds.Dataset:
        """The rows, with the columns that only other runs have as nulls."""
        schema = self.schema
        for other in others:
            for field in other.schema:
                if schema.get_field_index(field.name) < 0:
                    schema = schema.append(field)
        return self.dataset(schema)


def open_shards(run_id: str, paths: list[str], filesystem: Any) -> Shards:  # noqa: ANN401
    """Look at the files of one run; one of them is opened, for its columns.

    Args:
        run_id: Whose they are.
        paths: At least one.
        filesystem: fsspec's.
    """
    local = isinstance(filesystem, LocalFileSystem)
    arrow = fs.LocalFileSystem() if local else fs.PyFileSystem(fs.FSSpecHandler(filesystem))
    ordered = sorted(paths)
    schema = ds.dataset(ordered, format="parquet", filesystem=arrow).schema
    fields = [pa.field(field.name, _plain(field.type)) for field in schema]
    if _MODE.name not in schema.names:
        fields.append(_MODE)
    return Shards(run_id, tuple(ordered), pa.schema(fields), arrow)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
