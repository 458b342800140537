"""The ledger's rows one after the other, in bounded memory."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, get_args

from vision_pipeline.adapters.ledger.damage import BrokenRowError
from vision_pipeline.core.records import Mode

KEY_BYTES = 32
MODES = get_args(Mode)
_CHUNK = 10_000  # rows in one read transaction, so that a long reading does not hold the log up

_CHUNK_OF_ROWS = (
    "SELECT number, key, body, run_id, paid_by, cost_usd, attempts, queued_s, latency_s, "
    "answered_at, mode, tokens FROM replies WHERE number > ? ORDER BY number LIMIT ?"
)


class LedgerRow(NamedTuple):
    """A reply as it stands in the file.

    SQLite holds nobody to the types of its columns, and has no checksums: in a damaged file a value
    may be anything.

    Attributes:
        number: Position, from 1; of two replies to one question the higher one counts.
        key: Idempotency key, 32 bytes.
        answered_at: ISO 8601 with offset.
        mode: One of `MODES`.
        tokens: As in `StoredReply`.
    """

    number: int
    key: bytes
    body: bytes
    run_id: str
    paid_by: str
    cost_usd: float | None
    attempts: int
    queued_s: float
    latency_s: float
    answered_at: str
    mode: str
    tokens: int | None


class Payment(NamedTuple):
    """Who paid for a reply, without its body.

    Attributes:
        key: Idempotency key, 32 bytes.
        paid_by: Run and item.
        cost_usd: At list price, or None where there was none.
    """

    key: bytes
    paid_by: str
    cost_usd: float | None


def stored_rows(connection: sqlite3.Connection) -> Iterator[LedgerRow]:
    """All replies in the order in which they came; one is held at a time.

    Raises:
        sqlite3.Error: The file is damaged there.
    """
    last, found = 0, True
    while found:
        found = False
        for values in connection.execute(_CHUNK_OF_ROWS, (last, _CHUNK)):
            row = LedgerRow(*values)
            last, found = row.number, True
            yield row


def sound_rows(connection: sqlite3.Connection) -> Iterator[LedgerRow]:
    """All replies, as `stored_rows` gives them.

    Raises:
        BrokenRowError: One of them is none.
        sqlite3.Error: The file is damaged there.
    """
    for row in stored_rows(connection):
        if not is_reply(row):
            raise BrokenRowError(f"row {row.number} is no reply")
        yield row


def is_reply(row: Sequence[object]) -> bool:
    """Whether all values of a row are such as a ledger writes."""
    _, key, body, run_id, paid_by, cost_usd, attempts, *times, answered_at, mode, tokens = row
    return (
        isinstance(key, bytes)
        and len(key) == KEY_BYTES
        and isinstance(body, bytes)
        and isinstance(run_id, str)
        and isinstance(paid_by, str)
        and isinstance(cost_usd, int | float | None)
        and isinstance(attempts, int)
        and attempts > 0
        and all(is_between(seconds, 0.0, math.inf) for seconds in times)
        and _is_moment(answered_at)
        and mode in MODES
        and (tokens is None or (isinstance(tokens, int) and tokens >= 0))
    )


def is_between(value: object, least: float, most: float) -> bool:
    """Whether it is a number within both bounds."""
    return isinstance(value, int | float) and least <= value <= most


def _is_moment(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False
