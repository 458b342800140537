"""What a reply costs the ledger: written and looked up, few and many, alone and side by side."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.benchmarks.report import section, table
from tests.fakes import completion
from vision_pipeline.adapters.ledger.opening import connect
from vision_pipeline.adapters.ledger.schema import INSERT
from vision_pipeline.adapters.ledger.writer import SqliteLedger
from vision_pipeline.core.records import ReceivedReply, StoredReply

SIZES = (10_000, 1_000_000)
TOGETHER = 64
ALONE, MANY = 300, 6_400  # operations measured
MOMENT = datetime(2026, 11, 22, tzinfo=UTC)
BODY = completion("a receipt of 12 lines, " * 40)
REPLY = StoredReply(ReceivedReply(BODY, 1, 0.0, 1.0, MOMENT), "run-2/a.png", 0.001)

Operation = Callable[[SqliteLedger, int], Awaitable[object]]


def ledger(rounds: int) -> str:
    """Replies of 1.1 kB under random keys, in a ledger that holds 10,000 or 1,000,000 already.

    64 at once is how a run with 64 in flight meets it; the baseline is the same file, table and
    durability with one commit a row, from the same thread.
    """
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for rows in SIZES:
            filled = Path(scratch) / f"{rows}.sqlite"
            fill(filled, rows)
            for _ in range(rounds):
                for name, each in measured(filled, rows):
                    found.setdefault((name, rows), []).append(each * 1e6)
    lines = []
    for (name, rows), costs in found.items():
        base = found[BASE[name], rows]
        ratio = median(cost / floor for cost, floor in zip(costs, base))
        lines.append((name, f"{rows:,}", f"{median(costs):.0f}", f"{ratio:.2f}"))
    head = ("", "rows before", "µs a reply", "ratio to baseline")
    return section("Ledger", rounds, ledger.__doc__ or "", table(head, lines))


PLAIN_WRITE, PLAIN_READ = "baseline: one commit a row", "baseline: one select"
BASE = {
    PLAIN_WRITE: PLAIN_WRITE,
    "write, alone": PLAIN_WRITE,
    f"write, {TOGETHER} at once": PLAIN_WRITE,
    PLAIN_READ: PLAIN_READ,
    "look up, alone": PLAIN_READ,
    f"look up, {TOGETHER} at once": PLAIN_READ,
}


def measured(filled: Path, rows: int) -> Iterator[tuple[str, float]]:
    """Seconds a reply of each way, on copies of the same ledger."""
    path = filled.with_name("copy.sqlite")
    copy(filled, path)
    yield from plain(path, rows)
    copy(filled, path)
    with closing(SqliteLedger(path)) as opened:
        for at_once, count in ((1, ALONE), (TOGETHER, MANY)):
            name = "alone" if at_once == 1 else f"{at_once} at once"

            def write(to: SqliteLedger, n: int, name: str = name) -> Awaitable[object]:
                return to.remember(key(f"{name} {n}"), REPLY, run_id="run-2")

            def look_up(to: SqliteLedger, n: int) -> Awaitable[object]:
                return to.recall(key(n * 7919 % rows))

            yield f"write, {name}", asyncio.run(seconds(opened, write, count, at_once))
            yield f"look up, {name}", asyncio.run(seconds(opened, look_up, count, at_once))


def copy(filled: Path, path: Path) -> None:
    shutil.copy(filled, path)
    os.sync()  # or its pages would be written while commits are timed


async def seconds(opened: SqliteLedger, operation: Operation, count: int, at_once: int) -> float:
    started = perf_counter()
    for first in range(0, count, at_once):
        await asyncio.gather(*(operation(opened, n) for n in range(first, first + at_once)))
    return (perf_counter() - started) / count


def plain(path: Path, rows: int) -> Iterator[tuple[str, float]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        started = perf_counter()
        for n in range(ALONE):
            connection.execute(INSERT, row(f"plain {n}"))
        yield PLAIN_WRITE, (perf_counter() - started) / ALONE
        started = perf_counter()
        for n in range(MANY):
            found = connection.execute(
                "SELECT body, paid_by, cost_usd, attempts, queued_s, latency_s, answered_at "
                "FROM replies WHERE key = ? ORDER BY number DESC LIMIT 1",
                (bytes.fromhex(key(n * 7919 % rows)),),
            ).fetchone()
            assert found is not None
        yield PLAIN_READ, (perf_counter() - started) / MANY


def fill(path: Path, rows: int) -> None:
    with closing(connect(path)) as connection:
        connection.execute("BEGIN")
        connection.executemany(INSERT, map(row, range(rows)))
        connection.execute("COMMIT")


def row(name: object) -> tuple[object, ...]:
    moment = MOMENT.isoformat()
    digest = bytes.fromhex(key(name))
    return (None, digest, BODY, "run-1", "run-1/a.png", 0.001, 1, 0.0, 1.0, moment, "realtime", 110)


def key(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()
