"""Which rows are wanted, in the forms that a notebook writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from vision_pipeline.core.errors import OutputError

Where: TypeAlias = ds.Expression | Mapping[str, Any] | Sequence[tuple[str, str, Any]]


def expression(where: Where | None) -> ds.Expression | None:
    """The condition for Arrow, which it applies while it reads; None for all rows.

    Args:
        where: `{"status": "error", "total": [10, 20], "date": None}`, where a list means one of
            them, None what is null, and all have to hold; or triples as pandas takes them,
            `[("total", ">", 100)]`; or an expression of `pyarrow.dataset`.

    Raises:
        OutputError: It is none of these.
    """
    if where is None or isinstance(where, ds.Expression):
        return where
    if not where:
        return None
    try:
        if isinstance(where, Mapping):
            parts = [_is(name, value) for name, value in where.items()]
            every = parts[0]
            for part in parts[1:]:
                every &= part
            return every
        return pq.filters_to_expression(list(where))
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise OutputError(
            f"where: {where!r} is no condition: {error}; write "
            '{"status": "error"}, [("total", ">", 100)], or an expression of pyarrow.dataset'
        ) from error


def _is(name: str, value: object) -> ds.Expression:
    field = ds.field(name)
    if value is None:
        return field.is_null()
    if isinstance(value, list | tuple | set | frozenset):
        among = field.isin([one for one in value if one is not None])
        return among | field.is_null() if None in value else among
    return field == value
