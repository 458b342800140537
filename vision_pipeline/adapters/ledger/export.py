"""Replies of a ledger as Parquet or JSON Lines, streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from vision_pipeline.adapters.ledger.rows import LedgerRow
from vision_pipeline.core.protocol import BrokenReplyError, read_reply
from vision_pipeline.core.records import VisionReply

# Whichever is reached first ends a row group, and bounds memory.
MAX_GROUP_ROWS = 10_000
MAX_GROUP_BYTES = 32 * 1024 * 1024

SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("idempotency_key", pa.string()),
        ("run_id", pa.string()),
        ("paid_by", pa.string()),
        ("model", pa.string()),
        ("reply_text", pa.string()),
        ("finish_reason", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("cost_usd", pa.float64()),
        ("mode", pa.string()),
        ("attempts", pa.int64()),
        ("queued_s", pa.float64()),
        ("latency_s", pa.float64()),
        ("answered_at", pa.timestamp("us", tz="UTC")),
        ("body", pa.binary()),
    ]
)


def write_parquet(rows: Iterable[LedgerRow], file: BinaryIO) -> int:
    """Write replies as a Parquet table of `SCHEMA`; returns how many there are."""
    count = 0
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist(group, SCHEMA))
            count += len(group)
    return count


def write_json_lines(rows: Iterable[LedgerRow], file: BinaryIO) -> int:
    r"""Write replies as one JSON object a line; returns how many there are.

    The columns are those of `SCHEMA`, `body` as text; bytes in it that are no UTF-8 are written as
    `\xff`.
    """
    count = 0
    for row in rows:
        record = _record(row)
        record["body"] = record["body"].decode("utf-8", "backslashreplace")
        file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))
        count += 1
    return count


def _groups(rows: Iterable[LedgerRow]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size_bytes = 0
    for row in rows:
        group.append(_record(row))
        size_bytes += len(row.body)
        if len(group) >= MAX_GROUP_ROWS or size_bytes >= MAX_GROUP_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


def _record(row: LedgerRow) -> dict[str, Any]:
    reply = _reply(row.body)
    return {
        "number": row.number,
        "idempotency_key": row.key.hex(),
        "run_id": row.run_id,
        "paid_by": row.paid_by,
        "model": reply and reply.model,
        "reply_text": reply and reply.text,
        "finish_reason": reply and reply.finish_reason,
        "prompt_tokens": reply and reply.prompt_tokens,
        "completion_tokens": reply and reply.completion_tokens,
        "cached_tokens": reply and reply.cached_tokens,
        "cost_usd": row.cost_usd,
        "mode": row.mode,
        "attempts": row.attempts,
        "queued_s": row.queued_s,
        "latency_s": row.latency_s,
        "answered_at": _moment(row),
        "body": row.body,
    }


def _reply(body: bytes) -> VisionReply | None:
    try:
        return read_reply(body)
    except BrokenReplyError:  # stays in the ledger, and in `body` here
        return None


def _moment(row: LedgerRow) -> datetime:
    return datetime.fromisoformat(row.answered_at).astimezone(UTC)
