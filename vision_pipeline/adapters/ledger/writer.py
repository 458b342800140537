"""The ledger as a run uses it: looked up and written by one thread, in group commits."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from vision_pipeline.adapters.ledger.damage import BrokenRowError, damaged, is_damage
from vision_pipeline.adapters.ledger.futures import settle
from vision_pipeline.adapters.ledger.opening import connect
from vision_pipeline.adapters.ledger.reserve import BYTES_PER_REPLY, Reserve, is_full
from vision_pipeline.adapters.ledger.rows import MODES
from vision_pipeline.adapters.ledger.schema import INSERT
from vision_pipeline.core.errors import StorageError
from vision_pipeline.core.records import Amount, ReceivedReply, StoredReply

_SELECT = (
    "SELECT body, paid_by, cost_usd, attempts, queued_s, latency_s, answered_at, mode, tokens "
    "FROM replies WHERE key = ? ORDER BY number DESC LIMIT 1"
)
_SPENT = "SELECT total(cost_usd), total(tokens) FROM replies WHERE run_id = ?"
_SPENT_SINCE = "SELECT total(cost_usd), total(tokens) FROM replies WHERE answered_at >= ?"

T = TypeVar("T")
_Work = tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]


class SqliteLedger:
    """A ledger with one thread that owns the connection and commits in groups.

    Whatever waits when the thread comes round goes into one transaction with one fsync, so that a
    reply costs microseconds when many arrive, and each is on disk before `remember` returns.

    When the disk fills up, the reserve beside the file makes room for the replies in flight: they
    are stored, and `remember` fails all the same, so that no more are paid for.
    """

    def __init__(self, path: Path, *, in_flight: int = 64) -> None:
        """Open or create the file.

        Args:
            path: The file.
            in_flight: For how many replies there is to be room when the disk fills up.

        Raises:
            OutputError: Not a ledger, one of a newer version, damaged, or not writable; the file is
                left as it is.
        """
        self._path = path
        self._connection = connect(path)
        self._reserve = Reserve(path, in_flight * BYTES_PER_REPLY)
        self._is_reserved = False
        self._full = ""  # what told that the disk is full
        self._closed = False
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()

    async def recall(self, key: str) -> StoredReply | None:
        """The newest reply under that key, or None.

        Raises:
            StorageError: The file is damaged or gone.
        """
        digest = bytes.fromhex(key)
        return await self._run(lambda connection: _select(connection, digest))

    async def remember(self, key: str, reply: StoredReply, *, run_id: str) -> None:
        """Keep a reply; it is committed to disk when this returns. Earlier ones of its key stay.

        Raises:
            StorageError: The disk is full, or the file is damaged or gone. As long as the reserve
                lasts, a full disk has stored the reply nevertheless.
        """
        received = reply.received
        values = (
            None,  # SQLite numbers it
            bytes.fromhex(key),
            received.body,
            run_id,
            reply.paid_by,
            reply.cost_usd,
            received.attempts,
            received.queued_s,
            received.latency_s,
            _sortable(received.answered_at),
            received.mode,
            reply.tokens,
        )
        await self._run(lambda connection: self._insert(connection, values))
        if self._full:
            raise StorageError(self._message(self._full))

    async def spent(self, run_id: str) -> Amount:
        """What the replies of that run took so far."""
        return await self._run(lambda connection: _total(connection, _SPENT, run_id))

    async def spent_since(self, moment: datetime) -> Amount:
        """What all replies took that were complete at a moment or later; a second for 10^7."""
        since = _sortable(moment)
        return await self._run(lambda connection: _total(connection, _SPENT_SINCE, since))

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
        except (sqlite3.Error, BrokenRowError) as error:
            raise StorageError(self._message(error)) from error

    def _insert(self, connection: sqlite3.Connection, values: tuple[Any, ...]) -> None:
        if not self._full:
            was_reserved = self._is_reserved
            self._is_reserved = self._reserve.keep(again=was_reserved)
            if was_reserved and not self._is_reserved:
                self._make_room("another process that shares it has found the disk full")
        connection.execute(INSERT, values)

    def _message(self, error: Exception | str) -> str:
        if isinstance(error, Exception) and is_damage(error):
            return damaged(self._path, error)
        return (
            f"{self._path}: the ledger failed: {error}; "
            "once that is mended, the same command goes on"
        )

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
        try:
            results = self._transact([work for work, _ in group])
        except Exception as error:  # noqa: BLE001  (a dead thread would hang every later call)
            if is_full(error) and self._is_reserved:
                self._make_room(str(error))
                self._commit(group)
                return
            if len(group) > 1 and not _is_busy(error):
                # One that fails, such as a look-up on a damaged page, must not take the others'
                # replies with it.
                for each in group:
                    self._commit([each])
                return
            for _, done in group:
                settle(done, error=error)
            return
        for (_, done), result in zip(group, results, strict=True):
            settle(done, result=result)

    def _make_room(self, cause: str) -> None:
        self._full, self._is_reserved = cause, False
        # What is in the log stays there: carrying it into the file would need the room as well.
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._reserve.give_up()

    def _transact(self, works: list[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        try:
            # At once for writing: a transaction that has read cannot write any more once another
            # process has committed, and SQLite does not wait then.
            self._connection.execute("BEGIN IMMEDIATE")
            results = [work(self._connection) for work in works]
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        return results


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def _select(connection: sqlite3.Connection, key: bytes) -> StoredReply | None:
    row = connection.execute(_SELECT, (key,)).fetchone()
    if row is None:
        return None
    body, paid_by, cost_usd, attempts, queued_s, latency_s, answered_at, mode, tokens = row
    try:
        moment = datetime.fromisoformat(answered_at).astimezone(UTC)
    except (TypeError, ValueError):  # SQLite has no checksums: what it reads may be anything
        raise BrokenRowError(f"a reply's time is {answered_at!r:.80}") from None
    if not isinstance(body, bytes):
        raise BrokenRowError(f"a reply's body is {body!r:.80}")
    if mode not in MODES:
        raise BrokenRowError(f"a reply's mode is {mode!r:.80}")
    received = ReceivedReply(body, attempts, queued_s, latency_s, moment, mode)
    return StoredReply(received, paid_by, cost_usd, tokens)


def _total(connection: sqlite3.Connection, statement: str, which: str) -> Amount:
    usd, tokens = connection.execute(statement, (which,)).fetchone()
    return Amount(usd, int(tokens))


def _sortable(moment: datetime) -> str:
    """In UTC, so that text sorts as time does."""
    return moment.astimezone(UTC).isoformat()
