"""A ledger's file, opened: to write, or to read only."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from vision_pipeline.adapters.ledger.damage import (
    BUSY_TIMEOUT_S,
    BrokenRowError,
    as_output_error,
    look,
)
from vision_pipeline.adapters.ledger.schema import (
    SCHEMA_VERSION,
    bring_up_to_date,
    read_version,
)
from vision_pipeline.adapters.ledger.wal import size_bytes
from vision_pipeline.core.errors import OutputError

_BUSY_PAUSE_S = 0.01


def connect(path: Path) -> sqlite3.Connection:
    """Open or create a ledger for writing; one of an older format is migrated.

    Any thread may use the connection; transactions are begun and ended by hand.

    Raises:
        OutputError: Not a ledger, one of a newer format, damaged, or not writable.
    """
    look(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
    except (sqlite3.Error, OSError) as error:
        raise as_output_error(path, error) from error
    try:
        bring_up_to_date(connection, path)
        # WAL with a full sync: a commit survives a lost page cache, not only a killed process.
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        connection.close()
        raise as_output_error(path, error) from error
    except OutputError:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    # SQLite waits for another process everywhere but here.
    deadline_s = monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > deadline_s:
                raise
            sleep(_BUSY_PAUSE_S)
        else:
            return


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger that is there, also while a run writes to it; the file is left as it is.

    Only a file of an older format is migrated first.

    Raises:
        OutputError: No ledger, or damaged, also where the block meets the damage.
    """
    look(path)
    if not size_bytes(path):
        raise OutputError(f"{path}: {_nothing(path)}; a run makes its ledger with its first reply")
    try:
        with contextlib.closing(_read_only(path)) as connection:
            version = read_version(connection, path, newest=SCHEMA_VERSION)
            if version == SCHEMA_VERSION:
                yield connection
                return
        connect(path).close()
        with contextlib.closing(_read_only(path)) as connection:
            yield connection
    except (sqlite3.Error, BrokenRowError) as error:
        raise as_output_error(path, error) from error


def _nothing(path: Path) -> str:
    return "an empty file, and no ledger yet" if path.exists() else "no such file"


def _read_only(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    # Damaged text must not end the reading of all rows behind it.
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    return connection
