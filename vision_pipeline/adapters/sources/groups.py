"""Rows of a manifest that belong together, and their order."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pa_compute

from vision_pipeline.adapters.sources.identity import UniqueIds
from vision_pipeline.core.errors import SourceError


def groups_of(values: Sequence[object], names: Sequence[str]) -> dict[str, list[int]]:
    """The numbers of the rows of each group, by the group's id, both in the order of the rows.

    Args:
        values: One a row; equal ones make a group. A row without a value is a group of its own.
        names: One a row: what a row without a value is named after.
    """
    ids = UniqueIds()
    groups: dict[tuple[str, int | None], list[int]] = {}
    for row, value in enumerate(values):
        key = (names[row], row) if value in (None, "") else (str(value), None)
        groups.setdefault(key, []).append(row)
    return {ids.distinct(name): rows for (name, _), rows in groups.items()}


def ranks_of(column: pa.ChunkedArray, *, name: str, location: str) -> list[int]:
    """The place of each row when the column is sorted, from 0.

    Numbers are sorted as numbers, dates as dates, text by its characters' code points. Rows without
    a value, or with NaN, come last, and equal ones as they are listed.

    Args:
        column: One value a row.
        name: How messages name it.
        location: The manifest.

    Raises:
        SourceError: Values of its type have no order.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    try:
        rows = pa_compute.sort_indices(column.cast(kind)).to_pylist()
    except pa.ArrowException as error:
        detail = f"{location}: the column {name!r} is {column.type}, which has no order"
        raise SourceError(f"{detail} (source.order_by)") from error
    ranks = [0] * len(rows)
    for rank, row in enumerate(rows):
        ranks[row] = rank
    return ranks
