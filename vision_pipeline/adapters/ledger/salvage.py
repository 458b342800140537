"""What can still be read of a damaged ledger, put into a new one; the damaged one is kept."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from vision_pipeline.adapters.ledger.pages import Record
from vision_pipeline.adapters.ledger.rows import KEY_BYTES, LedgerRow, is_reply
from vision_pipeline.adapters.ledger.schema import (
    COLUMNS_1,
    INDEXES,
    INSERT,
    SCHEMA_VERSION,
    TABLE,
    used_tokens,
)
from vision_pipeline.adapters.ledger.snapshot import Snapshot, snapshot
from vision_pipeline.adapters.ledger.wal import size_bytes, wal_path
from vision_pipeline.core.errors import OutputError, StorageError
from vision_pipeline.core.protocol import BrokenReplyError, read_reply

if sys.platform != "win32":
    import fcntl

UNKNOWN_RUN = "(unknown)"  # no index entry tells it
# A row stays as it was written, also where columns were added to its table later.
_COLUMNS = (COLUMNS_1, len(LedgerRow._fields))
_ENTRY_COLUMNS = 2
_SHARED_LOCK_AT, _SHARED_LOCK_BYTES = (1 << 30) + 2, 510  # held by whoever has the file open
# Rows never change: of two copies of one, either will do.
_INSERT_ONCE = f"{INSERT} ON CONFLICT DO NOTHING"
# Every number that a row or an index entry bears witness to, also where the row cannot be read.
_WITNESSED = "CREATE TEMP TABLE witnessed (number INTEGER PRIMARY KEY, run_id TEXT)"
_WITNESS = (
    "INSERT INTO witnessed VALUES (?, ?) "
    "ON CONFLICT DO UPDATE SET run_id = coalesce(run_id, excluded.run_id)"
)
_LOST = (
    "SELECT run_id, count(*) FROM witnessed "
    "WHERE number NOT IN (SELECT number FROM replies) GROUP BY run_id"
)


@dataclass(slots=True)
class Salvaged:
    """What became of a damaged ledger.

    Attributes:
        replies: In the new file.
        cost_usd: What they cost at list price.
        lost: Replies that were there and cannot be read, by run; there may have been more.
        missing_pages: How many pages of the file are gone, as far as anything says so.
        kept: Where the damaged file is now.
    """

    path: str
    replies: int = 0
    cost_usd: float = 0.0
    lost: dict[str, int] = field(default_factory=dict)
    missing_pages: int = 0
    kept: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def salvage(path: Path, *, now: datetime) -> Salvaged:
    """Read each page of a damaged ledger and its log by itself, and put a new ledger in its place.

    A reply counts as read if its row is whole and its body a chat completion: whatever else there
    is would be an error row for ever, while a lost reply is asked for again. Until the new file is
    complete and on disk nothing is changed; memory is bounded.

    Raises:
        OutputError: Nothing can be read, the file is of a newer format, or somebody has it open.
        StorageError: The disk is full, or a file cannot be moved.
    """
    if not path.exists() and not wal_path(path).exists():
        raise OutputError(f"{path}: no such file")
    _refuse_open_file(path)
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with snapshot(path) as pages:
            found = _read(path, pages, draft)
        _sync(draft)
        found.kept = str(_keep(path, now=now))
        draft.replace(path)
    except (OSError, sqlite3.Error) as error:
        cause = getattr(error, "strerror", None) or error
        raise StorageError(
            f"{path}: cannot be salvaged: {cause}; with that mended, give the command again"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return found


def _read(path: Path, pages: Snapshot, draft: Path) -> Salvaged:
    if (pages.format_version or 0) > SCHEMA_VERSION:
        raise OutputError(
            f"{path}: written by a newer version (ledger format {pages.format_version}, this one "
            f"reads up to {SCHEMA_VERSION}); upgrade vision-pipeline"
        )
    found = Salvaged(str(path))
    with _draft(draft) as connection:
        for record in pages.records():
            _take(connection, record)
        found.replies, cost_usd = connection.execute(
            "SELECT count(*), total(cost_usd) FROM replies"
        ).fetchone()
        found.cost_usd = float(cost_usd)
        lost = Counter({run_id or UNKNOWN_RUN: n for run_id, n in connection.execute(_LOST)})
        found.lost = dict(lost.most_common())
    if not found.replies:
        raise OutputError(
            f"{path}: no reply in it can be read; it was left as it is. Put a copy of it from "
            "elsewhere in its place, or move it away: then everything is asked, and paid for, again"
        )
    found.missing_pages = pages.missing_pages
    return found


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[sqlite3.Connection]:
    """A new ledger, complete when the block ends; before that it is worth nothing."""
    connection = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for statement in (*TABLE, _WITNESSED):
            connection.execute(statement)
        yield connection
        for statement in INDEXES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")


def _take(connection: sqlite3.Connection, record: Record) -> None:
    values = record.values or ()
    if record.number:
        if len(values) in _COLUMNS:
            row = (record.number, *values[1:])
            if len(values) == COLUMNS_1:
                row += ("realtime", used_tokens(row[2]))
            if is_reply(row) and _is_completion(row[2]):
                connection.execute(_INSERT_ONCE, row)
        if len(values) in {0, *_COLUMNS}:  # else it is the list of tables
            connection.execute(_WITNESS, (record.number, None))
    elif len(values) == _ENTRY_COLUMNS:
        _take_entry(connection, *values)


def _take_entry(connection: sqlite3.Connection, indexed: object, number: object) -> None:
    is_key = isinstance(indexed, bytes) and len(indexed) == KEY_BYTES
    if isinstance(number, int) and number > 0 and (is_key or isinstance(indexed, str)):
        connection.execute(_WITNESS, (number, None if is_key else indexed))


def _is_completion(body: object) -> bool:
    try:
        return isinstance(body, bytes) and read_reply(body) is not None
    except BrokenReplyError:
        return False


def _refuse_open_file(path: Path) -> None:
    """Refuse a file that another process has open: it would go on writing into the kept one."""
    if sys.platform == "win32":  # pragma: no cover  (there an open file cannot be moved)
        return
    if not path.exists():
        return
    try:
        with path.open("r+b") as file:
            # SQLite's own lock. Of this process nobody has the file open: closing it here would
            # take their locks away.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_LOCK_BYTES, _SHARED_LOCK_AT)
    except BlockingIOError:
        raise OutputError(
            f"{path}: another process has it open; stop that run first. Nothing was changed"
        ) from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be opened: {error.strerror}") from error


def _keep(path: Path, *, now: datetime) -> Path:
    """Give the damaged file another name, with its log; returns it."""
    stem = f"{path.stem}.damaged-{now:%Y%m%dT%H%M%SZ}"  # no colon: Windows takes none
    kept, copy = path.with_name(f"{stem}{path.suffix}"), 1
    while kept.exists() or wal_path(kept).exists():
        copy += 1
        kept = path.with_name(f"{stem}-{copy}{path.suffix}")
    if path.exists():
        _rename(path, kept)
    # Before the new file has its name: SQLite would apply the old log to it.
    if size_bytes(wal_path(path)):
        wal_path(path).replace(wal_path(kept))
    wal_path(path).unlink(missing_ok=True)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return kept


def _rename(path: Path, kept: Path) -> None:
    try:
        # A second name first, so that at no moment a run would find no ledger and begin a new one.
        kept.hardlink_to(path)
    except OSError:  # a file system without links
        path.replace(kept)


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
