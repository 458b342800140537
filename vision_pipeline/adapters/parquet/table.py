"""The result table: its Arrow schema, and rows turned into columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from vision_pipeline.core.columns import ColumnType, ListOf, Scalar, StructOf
from vision_pipeline.core.records import Row

_CHOICE = pa.dictionary(pa.int32(), pa.string())
_MOMENT = pa.timestamp("us", tz="UTC")

_SCALARS = {
    Scalar.STRING: pa.string(),
    Scalar.INTEGER: pa.int64(),
    Scalar.NUMBER: pa.float64(),
    Scalar.BOOLEAN: pa.bool_(),
    Scalar.DATE: pa.date32(),
    Scalar.TIMESTAMP: _MOMENT,
    Scalar.CHOICE: _CHOICE,
    Scalar.JSON: pa.string(),
}

IMAGE_STRUCT = pa.struct(
    [
        ("uri", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("format", pa.string()),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("sent_width_px", pa.int32()),
        ("sent_height_px", pa.int32()),
        ("sent_bytes", pa.int64()),
        ("note", pa.string()),
        ("version", pa.string()),
    ]
)

# The pipeline's own columns. `run_id` is a dictionary because readers that see the folder name
# `run_id=…` make it one, and refuse a file that says otherwise.
BEFORE_ANSWER = [
    ("item_id", pa.string()),
    ("image_uri", pa.string()),
]
AFTER_ANSWER = [
    ("status", _CHOICE),
    ("error_code", _CHOICE),
    ("error_detail", pa.string()),
    ("image_sha256", pa.string()),
    ("image_bytes", pa.int64()),
    ("image_format", _CHOICE),
    ("image_width_px", pa.int32()),
    ("image_height_px", pa.int32()),
    ("image_note", pa.string()),
    ("image_version", pa.string()),
    ("sent_width_px", pa.int32()),
    ("sent_height_px", pa.int32()),
    ("sent_bytes", pa.int64()),
    ("images", pa.list_(IMAGE_STRUCT)),
    ("reply_text", pa.string()),
    ("finish_reason", _CHOICE),
    ("attempts", pa.int32()),
    ("repaired", pa.bool_()),
    ("provider", _CHOICE),
    ("model", _CHOICE),
    ("prompt", _CHOICE),
    ("prompt_version", _CHOICE),
    ("question_sha256", _CHOICE),
    ("idempotency_key", pa.string()),
    ("prompt_tokens", pa.int64()),
    ("completion_tokens", pa.int64()),
    ("cached_tokens", pa.int64()),
    ("estimated_tokens", pa.int64()),
    ("cost_usd", pa.float64()),
    ("mode", _CHOICE),
    ("from_ledger", pa.bool_()),
    ("queued_s", pa.float64()),
    ("latency_s", pa.float64()),
    ("answered_at", _MOMENT),
    ("run_id", _CHOICE),
    ("shard", pa.int32()),
]


def arrow_type(kind: ColumnType) -> pa.DataType:
    """The Arrow type of an answer's column."""
    match kind:
        case ListOf():
            return pa.list_(_inner(kind.element))
        case StructOf():
            return pa.struct([(name, _inner(field)) for name, field in kind.fields])
        case _:
            return _SCALARS[kind]


def _inner(kind: ColumnType) -> pa.DataType:
    # Parquet readers lose dictionaries inside lists and structs; plain strings read back the same.
    return pa.string() if kind is Scalar.CHOICE else arrow_type(kind)


def result_table(
    rows: Iterable[Row],
    *,
    answer_columns: Sequence[tuple[str, ColumnType]],
    manifest_columns: pa.Table,
) -> pa.Table:
    """One shard as a table.

    Args:
        rows: The outcomes, in manifest order.
        answer_columns: Names and types from the prompt's schema.
        manifest_columns: The manifest's own columns, as many rows in the same order.
    """
    outcomes = list(rows)
    columns: dict[str, Any] = {}
    for name, kind in BEFORE_ANSWER:
        columns[name] = _own(outcomes, name, kind)
    for name in manifest_columns.column_names:
        columns[name] = manifest_columns.column(name)
    for name, answer_kind in answer_columns:
        values = [row.answer.get(name) if row.answer else None for row in outcomes]
        columns[name] = pa.array(values, arrow_type(answer_kind))
    for name, kind in AFTER_ANSWER:
        columns[name] = _own(outcomes, name, kind)
    return pa.table(columns)


def _own(rows: Sequence[Row], name: str, kind: pa.DataType) -> pa.Array:
    return pa.array([getattr(row, name) for row in rows], kind)
