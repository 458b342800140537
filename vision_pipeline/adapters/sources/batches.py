"""The shape of a batch of items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

BATCH_ROWS = 1000  # a row is 1 to 2 kB of Python objects on its way
IMAGE_TYPE = pa.struct(
    [
        ("uri", pa.string()),
        ("size_bytes", pa.int64()),
        ("version", pa.string()),
        ("page", pa.int32()),
        ("offset_bytes", pa.int64()),
    ]
)
ITEM_FIELDS = (
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("images", pa.list_(IMAGE_TYPE), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Found:
    """One image as a source lists it; the fields are those of `ImageRef`, and its item's id."""

    item_id: str
    uri: str
    size_bytes: int | None = None
    version: str = ""
    page: int | None = None
    offset_bytes: int | None = None


def batch_of(
    item_ids: Sequence[str], groups: Sequence[Sequence[Found]], others: Sequence[tuple[Any, Any]]
) -> pa.RecordBatch:
    """Items as one Arrow batch.

    Args:
        item_ids: One an item.
        groups: The images of each item; their own `item_id` is not used.
        others: Field and array of each further column.
    """
    offsets = [0]
    for group in groups:
        offsets.append(offsets[-1] + len(group))
    images = [each for group in groups for each in group]
    columns = [
        pa.array([getattr(each, field.name) for each in images], field.type) for field in IMAGE_TYPE
    ]
    listed = pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(columns, fields=list(IMAGE_TYPE))
    )
    schema = pa.schema([*ITEM_FIELDS, *(field for field, _ in others)])
    arrays = [pa.array(item_ids, pa.string()), listed, *(array for _, array in others)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def batches_of(images: Iterable[Found]) -> Iterator[pa.RecordBatch]:
    """Items of one image each, at most `BATCH_ROWS` at a time, nothing held beyond them."""
    remaining = iter(images)
    while some := list(islice(remaining, BATCH_ROWS)):
        yield batch_of([each.item_id for each in some], [[each] for each in some], [])
