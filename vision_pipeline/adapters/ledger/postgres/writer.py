"""The ledger in a database as a run uses it: looked up and written by one thread, in groups."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import psycopg

from vision_pipeline.adapters.ledger.futures import settle
from vision_pipeline.adapters.ledger.postgres.opening import (
    connect,
    explained,
    one_line,
    open_ledger,
)
from vision_pipeline.adapters.ledger.postgres.refuge import Refuge, read_records
from vision_pipeline.adapters.ledger.postgres.replies import (
    Record,
    insert,
    newest,
    record_of,
    spent,
)
from vision_pipeline.adapters.ledger.postgres.schema import Connection
from vision_pipeline.core.databases import Database
from vision_pipeline.core.errors import StorageError
from vision_pipeline.core.records import Amount, StoredReply

_MAX_GROUP = 500
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)


@dataclass(slots=True, eq=False)
class _Work:
    """One of three things to do: look up `key`, keep `record`, or sum up what was `spent_on`."""

    done: asyncio.Future[Any]
    key: bytes | None = None
    record: Record | None = None
    spent_on: str | datetime | None = None


@dataclass(slots=True)
class _Outage:
    """Since when the database fails, and what was brought to safety meanwhile."""

    since_s: float | None = None
    pause_s: float = _FIRST_PAUSE_S
    kept: set[Any] = field(default_factory=set)
    complaint: str = ""


class PostgresLedger:
    """A ledger with one thread that owns the connection and works in groups.

    Whatever waits when the thread comes round costs two round trips: one that looks up all keys,
    one that writes and commits all replies. A database that fails is tried again with growing
    pauses; the replies that wait for it are on this machine's disk meanwhile.

    Args:
        database: Where; its tables are made if need be.
        refuge: Folder for replies that the database does not take.
        patience_s: How long an outage may last until whoever waits is told that it failed.
        pause: Waits some seconds; None for a real wait that `close` ends.

    Raises:
        OutputError: The database cannot be used as a ledger.
    """

    def __init__(
        self,
        database: Database,
        *,
        refuge: Path,
        patience_s: float,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._database = database
        self._refuge = Refuge(refuge, database)
        self._patience_s = patience_s
        self._closing = threading.Event()
        self._pause = pause or self._closing.wait
        self._outage = _Outage()
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._is_last = False
        self._connection: Connection | None = open_ledger(database)
        try:
            with explained(database):
                self._take_up(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()

    async def recall(self, key: str) -> StoredReply | None:
        """The newest reply under that key, or None.

        Raises:
            StorageError: The database was away for too long.
        """
        found: StoredReply | None = await self._asked(key=bytes.fromhex(key))
        return found

    async def remember(self, key: str, reply: StoredReply, *, run_id: str) -> None:
        """Keep a reply; it is committed when this returns. Earlier ones of its key stay.

        Raises:
            StorageError: The database was away for too long; the reply is in a local file, which
                the next run takes up.
        """
        await self._asked(record=record_of(uuid4(), key, reply, run_id=run_id))

    async def spent(self, run_id: str) -> Amount:
        """What the replies of that run took so far.

        Raises:
            StorageError: The database was away for too long.
        """
        found: Amount = await self._asked(spent_on=run_id)
        return found

    async def spent_since(self, moment: datetime) -> Amount:
        """What all replies took that were complete at a moment or later.

        Raises:
            StorageError: The database was away for too long.
        """
        found: Amount = await self._asked(spent_on=moment)
        return found

    def close(self) -> None:
        """Finish what waits, trying each thing once more at most, and disconnect."""
        self._closing.set()
        self._work.put(None)
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    async def _asked(self, **what: Any) -> Any:  # noqa: ANN401  (what a statement gives)
        if self._closing.is_set():  # nobody would ever answer
            raise StorageError(f"{self._database}: the ledger is closed")
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._work.put(_Work(done, **what))
        return await done

    def _take_up(self, connection: Connection) -> None:
        """Write what this run, or earlier ones on this machine, had to keep."""
        for path in self._refuge.files():
            with contextlib.suppress(FileNotFoundError):  # another run was faster
                if records := list(read_records(path)):
                    insert(connection, records)
                path.unlink()

    def _serve(self) -> None:
        while not self._is_last:
            if group := self._gathered(wait=True):
                self._finish(group)

    def _gathered(self, *, wait: bool) -> list[_Work]:
        """What waits by now, at least one thing with `wait`; `close` may be behind it."""
        group: list[_Work] = []
        with contextlib.suppress(queue.Empty):
            while not self._is_last and len(group) < _MAX_GROUP:
                following = self._work.get(block=wait and not group)
                self._is_last = following is None
                if following is not None:
                    group.append(following)
        return group

    def _finish(self, group: list[_Work]) -> None:
        """Do all of it, or tell whoever waits why that failed."""
        while True:
            try:
                results = self._done(group)
            except Exception as error:  # noqa: BLE001  (a dead thread would hang every later call)
                self._bring_to_safety(group)
                if not self._may_go_on(error):
                    failure = StorageError(self._message(error, group))
                    for work in group:
                        settle(work.done, error=failure)
                    return
                group += self._gathered(wait=False)
            else:
                self._outage = _Outage()
                for work, result in zip(group, results, strict=True):
                    settle(work.done, result=result)
                return

    def _done(self, group: Sequence[_Work]) -> list[Any]:
        if self._connection is None:
            self._connection = connect(self._database)
            self._take_up(self._connection)
            self._outage.kept.clear()
        connection = self._connection
        # First, so that a question asked twice at the same moment finds its reply.
        if records := [work.record for work in group if work.record is not None]:
            insert(connection, records)
        keys = [work.key for work in group if work.key is not None]
        found = newest(connection, keys) if keys else {}
        results: list[Any] = []
        for work in group:
            result: Any = None
            if work.key is not None:
                result = found.get(work.key)
            elif work.spent_on is not None:
                result = spent(connection, work.spent_on)
            results.append(result)
        return results

    def _bring_to_safety(self, group: Sequence[_Work]) -> None:
        kept = self._outage.kept
        records = [
            work.record
            for work in group
            if work.record is not None and work.record.receipt not in kept
        ]
        if not records:
            return
        try:
            self._refuge.add(records)
        except OSError as error:
            self._outage.complaint = error.strerror or str(error)
        else:
            kept.update(record.receipt for record in records)

    def _may_go_on(self, error: Exception) -> bool:
        """Wait until the next try; returns whether there is one."""
        self._disconnect()
        outage = self._outage
        now_s = monotonic()
        outage.since_s = now_s if outage.since_s is None else outage.since_s
        left_s = outage.since_s + self._patience_s - now_s
        if not isinstance(error, _AWAY) or self._closing.is_set() or left_s <= 0:
            return False
        self._pause(min(outage.pause_s, left_s))
        outage.pause_s = min(2 * outage.pause_s, _LONGEST_PAUSE_S)
        return True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _message(self, error: Exception, group: Sequence[_Work]) -> str:
        outage = self._outage
        lost = sum(
            work.record is not None and work.record.receipt not in outage.kept for work in group
        )
        told = f"{self._database}: the ledger failed: {one_line(error)}"
        if lost:
            told += f"; {lost} paid replies could not be kept in {self._refuge.path} either"
            return f"{told}: {outage.complaint}"
        if outage.kept:
            told += f"; {len(outage.kept)} paid replies are kept in {self._refuge.path} until then"
        return f"{told}; once that is mended, the same command goes on"
