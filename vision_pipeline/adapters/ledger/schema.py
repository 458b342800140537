"""The ledger's table, and the steps that bring a file of an older format up to this one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from vision_pipeline.core.errors import OutputError

TABLE = """
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
INDEXES = (
    "CREATE INDEX replies_by_key ON replies (key)",
    "CREATE INDEX replies_by_run ON replies (run_id)",
)
# A question that was asked again on purpose has several replies: all were paid for, all are kept,
# and the one of the highest number counts.
INSERT = (
    "INSERT INTO replies (number, key, body, run_id, paid_by, cost_usd, attempts, queued_s, "
    "latency_s, answered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

# What leads from format N to format N + 1, by N; format 0 is a file without tables. Formats that
# were released stay as they are: a new one is a step at the end.
STEPS: tuple[tuple[str, ...], ...] = ((TABLE, *INDEXES),)
SCHEMA_VERSION = len(STEPS)


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
