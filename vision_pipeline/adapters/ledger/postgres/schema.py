"""The ledger's tables in a database, and the steps that bring older ones up to date."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

from vision_pipeline.core.databases import Database
from vision_pipeline.core.errors import OutputError

# `receipt` names one reply for good, so that one that is written a second time, because nobody
# knows whether the first time was committed, stands there once.
_TABLE_1 = """
CREATE TABLE vision_pipeline_replies (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receipt uuid NOT NULL UNIQUE,
    key bytea NOT NULL,
    body bytea NOT NULL,
    run_id text NOT NULL,
    paid_by text NOT NULL,
    cost_usd double precision,
    attempts integer NOT NULL,
    queued_s double precision NOT NULL,
    latency_s double precision NOT NULL,
    answered_at timestamptz NOT NULL
)
"""
_VERSION_TABLE = "CREATE TABLE vision_pipeline_ledger (format integer NOT NULL)"
_INDEXES_1 = (
    "CREATE INDEX vision_pipeline_replies_by_key ON vision_pipeline_replies (key, number)",
    "CREATE INDEX vision_pipeline_replies_by_run ON vision_pipeline_replies (run_id)",
)
_ADDED_2 = (
    "ALTER TABLE vision_pipeline_replies "
    "ADD COLUMN mode text NOT NULL DEFAULT 'realtime', ADD COLUMN tokens bigint"
)
# Inside an answer these names would stand between escaped quotes. A copy of another run's reply was
# not paid for again.
_COUNTED_2 = r"""
UPDATE vision_pipeline_replies SET tokens = CASE
    WHEN left(paid_by, length(run_id) + 1) = run_id || '/' THEN nullif(
        coalesce(substring(encode(body, 'escape') from '"prompt_tokens": *([0-9]{1,9})')::bigint, 0)
        + coalesce(
            substring(encode(body, 'escape') from '"completion_tokens": *([0-9]{1,9})')::bigint, 0
        ), 0)
    ELSE 0
END
"""
_INDEXES_2 = (
    "CREATE INDEX vision_pipeline_replies_by_time "
    "ON vision_pipeline_replies (answered_at) INCLUDE (cost_usd, tokens)",
)

# What leads from format N to format N + 1, by N; format 0 is a database without these tables.
# Formats that were released stay as they are: a new one is a step at the end.
STEPS: tuple[tuple[LiteralString, ...], ...] = (
    (_TABLE_1, *_INDEXES_1, _VERSION_TABLE, "INSERT INTO vision_pipeline_ledger VALUES (0)"),
    (_ADDED_2, _COUNTED_2, *_INDEXES_2),
)
SCHEMA_VERSION = len(STEPS)
# Read from the catalogue: functions such as `to_regclass` may answer from before another machine's
# commit, for which this one has waited.
_IS_THERE = (
    "SELECT 1 FROM pg_class WHERE relname = 'vision_pipeline_ledger' AND pg_table_is_visible(oid)"
)
_ONE_AT_A_TIME = 0x7669_7069  # the number of an advisory lock; any, but the same for all

Connection = psycopg.Connection[tuple[Any, ...]]


def read_version(connection: Connection, database: Database, *, newest: int) -> int:
    """The format of the tables; 0 where there are none.

    Raises:
        OutputError: They are of a newer format than `newest`.
    """
    if not connection.execute(_IS_THERE).fetchall():
        return 0
    version = int(connection.execute("SELECT format FROM vision_pipeline_ledger").fetchall()[0][0])
    if version > newest:
        raise OutputError(
            f"{database}: written by a newer version (ledger format {version}, "
            f"this one reads up to {newest}); upgrade vision-pipeline"
        )
    return version


def bring_up_to_date(
    connection: Connection,
    database: Database,
    *,
    steps: tuple[tuple[LiteralString, ...], ...] = STEPS,
) -> None:
    """Make the tables, or migrate those of an older format, in one transaction.

    Of several machines that come at once, one does it and the others find it done.

    Raises:
        OutputError: They are of a newer format.
        psycopg.Error: A step failed; the tables are as they were.
    """
    if read_version(connection, database, newest=len(steps)) == len(steps):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
        version = read_version(connection, database, newest=len(steps))
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute("UPDATE vision_pipeline_ledger SET format = %s", [len(steps)])
