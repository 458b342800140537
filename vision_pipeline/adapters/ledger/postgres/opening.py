"""A connection to the database that holds a ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from vision_pipeline.adapters.ledger.postgres.schema import (
    SCHEMA_VERSION,
    Connection,
    bring_up_to_date,
    read_version,
)
from vision_pipeline.core.databases import Database
from vision_pipeline.core.errors import OutputError

# A server that falls silent is given up after half a minute; what the URL says goes before.
_USUAL = {
    "application_name": "vision-pipeline",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
# A commit is on the server's disk before it is reported, whatever the role's own setting.
_SAFE_COMMITS = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)


def connect(database: Database) -> Connection:
    """Connect, statement by statement its own transaction; the tables may be missing.

    Raises:
        psycopg.Error: The URL is none, or the database cannot be reached or refuses.
    """
    settings: dict[str, Any] = _USUAL | conninfo_to_dict(database.url)
    if database.password is not None:
        settings["password"] = database.password
    address = make_conninfo("", **settings)
    # Unprepared: a pooler in between may hand each transaction to another server process.
    connection = psycopg.connect(address, autocommit=True, prepare_threshold=None)
    connection.execute(_SAFE_COMMITS)
    return connection


def open_ledger(database: Database) -> Connection:
    """Connect, and make or migrate the ledger's tables.

    Raises:
        OutputError: The database cannot be used as a ledger; says why.
    """
    with explained(database):
        connection = connect(database)
        try:
            bring_up_to_date(connection, database)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """Connect to a ledger that is there, also while runs write to it.

    Raises:
        OutputError: There is none, or the database fails, also within the block.
    """
    with explained(database), connect(database) as connection:
        version = read_version(connection, database, newest=SCHEMA_VERSION)
        if not version:
            raise OutputError(f"{database}: no ledger here yet; a run makes it when it begins")
        if version < SCHEMA_VERSION:
            bring_up_to_date(connection, database)
        yield connection


@contextmanager
def explained(database: Database) -> Iterator[None]:
    """Whatever the database complains of, with its address."""
    try:
        yield
    except psycopg.Error as error:
        raise OutputError(f"{database}: cannot be used as a ledger: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """What the server says, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
