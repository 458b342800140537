"""Every reply ever paid for, by idempotency key, in one SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

from vision_pipeline.core.errors import OutputError, StorageError
from vision_pipeline.core.records import ReceivedReply, StoredReply

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 60.0  # another process may hold the file for one group commit at a time
_BUSY_PAUSE_S = 0.01

_SCHEMA = (
    """
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
""",
    "CREATE INDEX replies_by_key ON replies (key)",
    "CREATE INDEX replies_by_run ON replies (run_id)",
)
# A question that was asked again on purpose has several replies: all were paid for, all are kept.
_INSERT = "INSERT INTO replies VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = (
    "SELECT body, paid_by, cost_usd, attempts, queued_s, latency_s, answered_at "
    "FROM replies WHERE key = ? ORDER BY number DESC LIMIT 1"
)
_SPENT = "SELECT total(cost_usd) FROM replies WHERE run_id = ?"

T = TypeVar("T")
_Work = tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]


class SqliteLedger:
    """A ledger with one thread that owns the connection and commits in groups.

    Whatever waits when the thread comes round goes into one transaction with one fsync, so that a
    reply costs microseconds when many arrive, and each is on disk before `remember` returns.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            OutputError: Not a ledger, one of a newer version, damaged, or not writable.
        """
        self._path = path
        self._connection = _connect(path)
        self._closed = False
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()

    async def recall(self, key: str) -> StoredReply | None:
        """The newest reply under that key, or None."""
        digest = bytes.fromhex(key)
        return await self._run(lambda connection: _select(connection, digest))

    async def remember(self, key: str, reply: StoredReply, *, run_id: str) -> None:
        """Keep a reply; it is committed to disk when this returns. Earlier ones of its key stay.

        Raises:
            StorageError: The disk is full, or the file is damaged or gone.
        """
        received = reply.received
        values = (
            bytes.fromhex(key),
            received.body,
            run_id,
            reply.paid_by,
            reply.cost_usd,
            received.attempts,
            received.queued_s,
            received.latency_s,
            received.answered_at.isoformat(),
        )
        await self._run(lambda connection: connection.execute(_INSERT, values))

    async def spent_usd(self, run_id: str) -> float:
        """What the replies of that run cost so far."""
        total = await self._run(
            lambda connection: connection.execute(_SPENT, (run_id,)).fetchone()[0]
        )
        return float(total)

    def close(self) -> None:
        """Finish what waits and close the file."""
        self._closed = True
        self._work.put(None)
        self._thread.join()
        self._connection.close()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:  # nobody would ever answer
            raise StorageError(f"{self._path}: the ledger is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.put((work, done))
        try:
            return await done
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: the ledger failed: {error}") from error

    def _serve(self) -> None:
        while (first := self._work.get()) is not None:
            group = [first]
            last = False
            with contextlib.suppress(queue.Empty):
                while not last:
                    following = self._work.get_nowait()
                    last = following is None
                    if following is not None:
                        group.append(following)
            self._commit(group)
            if last:
                return

    def _commit(self, group: list[_Work]) -> None:
        results: list[Any] = []
        try:
            # At once for writing: a transaction that has read cannot write any more once another
            # process has committed, and SQLite does not wait then.
            self._connection.execute("BEGIN IMMEDIATE")
            results = [work(self._connection) for work, _ in group]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  (a dead thread would hang every later call)
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            for _, done in group:
                _settle(done, error=error)
            return
        for (_, done), result in zip(group, results, strict=True):
            _settle(done, result=result)


def _settle(
    done: asyncio.Future[Any], *, result: object = None, error: Exception | None = None
) -> None:
    def settle() -> None:
        if done.done():  # the waiter was cancelled; the reply is stored all the same
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        done.get_loop().call_soon_threadsafe(settle)


def _select(connection: sqlite3.Connection, key: bytes) -> StoredReply | None:
    row = connection.execute(_SELECT, (key,)).fetchone()
    if row is None:
        return None
    body, paid_by, cost_usd, attempts, queued_s, latency_s, answered_at = row
    received = ReceivedReply(
        body=body,
        attempts=attempts,
        queued_s=queued_s,
        latency_s=latency_s,
        answered_at=datetime.fromisoformat(answered_at).astimezone(UTC),
    )
    return StoredReply(received=received, paid_by=paid_by, cost_usd=cost_usd)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
    except (sqlite3.Error, OSError) as error:
        raise _unusable(path, error) from error
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    except OutputError:
        connection.close()
        raise
    return connection


def _unusable(path: Path, cause: object) -> OutputError:
    return OutputError(f"{path}: cannot be used as a ledger: {cause}; it was left as it is")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # In one transaction, so that of two processes that begin at once one makes the tables.
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise OutputError(
            f"{path}: written by a newer version (ledger format {version}, "
            f"this one reads up to {SCHEMA_VERSION}); upgrade vision-pipeline"
        )
    if tables and not version:
        raise _unusable(path, "it is another program's database")
    if not version:
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
    # WAL with a full sync: a commit survives a lost page cache, not only a killed process.
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")


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
