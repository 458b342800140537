"""The ledger's table, and the steps that bring a file of an older format up to this one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.protocol import BrokenReplyError, read_reply

_TABLE_1 = """
CREATE TABLE replies (
    number INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    body BLOB NOT NULL,
    run_id TEXT NOT NULL,
    paid_by TEXT NOT NULL,
    cost_usd REAL,
    attempts INTEGER NOT NULL,
    queued_s REAL NOT NULL,
    latency_s REAL NOT NULL,
    answered_at TEXT NOT NULL
)
"""
COLUMNS_1 = 10
_INDEXES_1 = (
    "CREATE INDEX replies_by_key ON replies (key)",
    "CREATE INDEX replies_by_run ON replies (run_id)",
)
_ADDED_2 = (
    "ALTER TABLE replies ADD COLUMN mode TEXT NOT NULL DEFAULT 'realtime'",
    "ALTER TABLE replies ADD COLUMN tokens INTEGER",
)
# A copy of another run's reply was not paid for again.
_COUNTED_2 = (
    "UPDATE replies SET tokens = "
    "iif(substr(paid_by, 1, length(run_id) + 1) = run_id || '/', used_tokens(body), 0)"
)
# It holds what is summed up, so that a month of a million replies is read without its bodies.
_INDEXES_2 = ("CREATE INDEX replies_by_time ON replies (answered_at, cost_usd, tokens)",)

TABLE = (_TABLE_1, *_ADDED_2)
INDEXES = (*_INDEXES_1, *_INDEXES_2)
# A question that was asked again on purpose has several replies: all were paid for, all are kept,
# and the one of the highest number counts.
INSERT = (
    "INSERT INTO replies (number, key, body, run_id, paid_by, cost_usd, attempts, queued_s, "
    "latency_s, answered_at, mode, tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

# What leads from format N to format N + 1, by N; format 0 is a file without tables. Formats that
# were released stay as they are: a new one is a step at the end.
STEPS: tuple[tuple[str, ...], ...] = (
    (_TABLE_1, *_INDEXES_1),
    (*_ADDED_2, _COUNTED_2, *_INDEXES_2),
)
SCHEMA_VERSION = len(STEPS)


def used_tokens(body: object) -> int | None:
    """What the usage of a stored reply says, or None where it says nothing."""
    try:
        return read_reply(body).tokens if isinstance(body, bytes) else None
    except BrokenReplyError:
        return None


def read_version(connection: sqlite3.Connection, path: Path, *, newest: int) -> int:
    """The format of an open file; 0 for one without tables.

    Raises:
        OutputError: It is another program's database, or of a newer format than `newest`.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version > newest:
        raise OutputError(
            f"{path}: written by a newer version (ledger format {version}, "
            f"this one reads up to {newest}); upgrade vision-pipeline"
        )
    if tables and not version:
        raise OutputError(
            f"{path}: cannot be used as a ledger: it is another program's database; "
            "it was left as it is. Name another file in output.ledger"
        )
    return version


def bring_up_to_date(
    connection: sqlite3.Connection, path: Path, *, steps: Sequence[Sequence[str]] = STEPS
) -> None:
    """Make the tables, or migrate those of an older format, in one transaction.

    Of several processes that come at once, one does it and the others find it done.

    Raises:
        OutputError: The file is no ledger, or of a newer format.
        sqlite3.Error: A step failed; the file is as it was.
    """
    connection.create_function("used_tokens", 1, used_tokens, deterministic=True)
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = read_version(connection, path, newest=len(steps))
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        if version < len(steps):
            connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
