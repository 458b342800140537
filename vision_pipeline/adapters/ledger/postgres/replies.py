"""Replies as the database keeps them, written and looked up many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from vision_pipeline.adapters.ledger.postgres.schema import Connection
from vision_pipeline.adapters.ledger.rows import LedgerRow
from vision_pipeline.core.records import Amount, Mode, ReceivedReply, StoredReply

_CHUNK = 500  # rows read at a time

_INSERT = """
INSERT INTO vision_pipeline_replies (
    receipt, key, body, run_id, paid_by, cost_usd, attempts, queued_s, latency_s, answered_at,
    mode, tokens
)
SELECT * FROM unnest(
    %s::uuid[], %b::bytea[], %b::bytea[], %s::text[], %s::text[],
    %s::float8[], %s::int4[], %s::float8[], %s::float8[], %s::timestamptz[],
    %s::text[], %s::int8[]
)
ON CONFLICT (receipt) DO NOTHING
"""
_NEWEST = """
SELECT DISTINCT ON (key)
    key, body, paid_by, cost_usd, attempts, queued_s, latency_s, answered_at, mode, tokens
FROM vision_pipeline_replies WHERE key = ANY(%b) ORDER BY key, number DESC
"""
_ROWS = """
SELECT number, key, body, run_id, paid_by, cost_usd, attempts, queued_s, latency_s, answered_at,
    mode, tokens
FROM vision_pipeline_replies WHERE number > %s ORDER BY number LIMIT %s
"""

_TOTALS = "SELECT coalesce(sum(cost_usd), 0), coalesce(sum(tokens), 0) FROM vision_pipeline_replies"
_SPENT: LiteralString = f"{_TOTALS} WHERE run_id = %s"
_SPENT_SINCE: LiteralString = f"{_TOTALS} WHERE answered_at >= %s"


class Record(NamedTuple):
    """One reply, as it is written; files of before the last two had none.

    Attributes:
        receipt: Names it for good.
        key: Idempotency key, 32 bytes.
        answered_at: With its time zone.
        mode: How it was asked for.
        tokens: As in `StoredReply`.
    """

    receipt: UUID
    key: bytes
    body: bytes
    run_id: str
    paid_by: str
    cost_usd: float | None
    attempts: int
    queued_s: float
    latency_s: float
    answered_at: datetime
    mode: Mode = "realtime"
    tokens: int | None = None


def record_of(receipt: UUID, key: str, reply: StoredReply, *, run_id: str) -> Record:
    """A reply to be written."""
    received = reply.received
    return Record(
        receipt,
        bytes.fromhex(key),
        received.body,
        run_id,
        _storable(reply.paid_by),
        reply.cost_usd,
        received.attempts,
        received.queued_s,
        received.latency_s,
        received.answered_at,
        received.mode,
        reply.tokens,
    )


def insert(connection: Connection, records: Sequence[Record]) -> None:
    """Write replies in one statement, so all or none; those that are there already stay once."""
    connection.execute(_INSERT, [list(column) for column in zip(*records, strict=True)])


def newest(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, StoredReply]:
    """The newest reply under each key that has one, in one round trip."""
    found = {}
    for row in connection.execute(_NEWEST, [list(keys)]):
        key, body, paid_by, cost_usd, attempts, queued_s, latency_s, moment, mode, tokens = row
        answered_at = moment.astimezone(UTC)
        received = ReceivedReply(body, attempts, queued_s, latency_s, answered_at, mode)
        found[key] = StoredReply(received, paid_by, cost_usd, tokens)
    return found


def spent(connection: Connection, on: str | datetime) -> Amount:
    """What the replies of a run took, or all replies since a moment."""
    statement = _SPENT if isinstance(on, str) else _SPENT_SINCE
    [(usd, tokens)] = connection.execute(statement, [on]).fetchall()
    return Amount(float(usd), int(tokens))


def stored_rows(connection: Connection) -> Iterator[LedgerRow]:
    """All replies in the order of their numbers; some hundred are held at a time."""
    last = 0
    while rows := connection.execute(_ROWS, [last, _CHUNK]).fetchall():
        for row in map(LedgerRow._make, rows):
            moment: Any = row.answered_at
            yield row._replace(answered_at=moment.astimezone(UTC).isoformat())
        last = int(rows[-1][0])


def _storable(text: str) -> str:
    # PostgreSQL has no NUL in texts, and a reply must not be lost for an item's odd name.
    return text.replace("\0", "\N{SYMBOL FOR NULL}")
