"""Ledgers for tests: filled, left behind by a kill, damaged."""

import hashlib
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.fakes import completion
from vision_pipeline.adapters.ledger.opening import connect
from vision_pipeline.adapters.ledger.schema import INSERT

MOMENT = datetime(2026, 11, 22, 10, 15, 0, 123456, tzinfo=UTC)
PAGE = 4096

# What the first release wrote. Never to be changed: files like it are out there.
FORMAT_1 = (
    """CREATE TABLE replies (
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
)""",
    "CREATE INDEX replies_by_key ON replies (key)",
    "CREATE INDEX replies_by_run ON replies (run_id)",
    "PRAGMA user_version = 1",
)

INSERT_1 = (
    "INSERT INTO replies (number, key, body, run_id, paid_by, cost_usd, attempts, queued_s, "
    "latency_s, answered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def key(name="a"):
    return hashlib.sha256(str(name).encode()).hexdigest()


def row(name, *, run_id="run-1", body=None, cost_usd=0.5, moment=MOMENT, **changes):
    """What the statement INSERT takes; `changes` are columns that no ledger would write so."""
    values = {
        "number": None,
        "key": bytes.fromhex(key(name)),
        "body": completion(f"answer {name}") if body is None else body,
        "run_id": run_id,
        "paid_by": f"{run_id}/{name}.png",
        "cost_usd": cost_usd,
        "attempts": 1,
        "queued_s": 0.25,
        "latency_s": 1.5,
        "answered_at": moment.isoformat(),
        "mode": "realtime",
        "tokens": 110,
    }
    return tuple((values | changes).values())


def rows(count, *, seed=0):
    """Replies of two runs, a minute apart; every tenth body needs several pages."""
    draw = random.Random(seed)
    for number in range(count):
        length = draw.randrange(9000, 30000) if number % 10 == 9 else draw.randrange(1500)
        text = f"answer {number} " + draw.randbytes(length // 2).hex()
        run_id = "run-1" if number < count // 2 else "run-2"
        moment = MOMENT + timedelta(minutes=number)
        yield row(number, run_id=run_id, body=completion(text), moment=moment)


def first_format(path: Path, values) -> None:
    """A ledger as the first release wrote it."""
    with plainly(path) as connection:
        for statement in FORMAT_1:
            connection.execute(statement)
        connection.execute("BEGIN")
        connection.executemany(INSERT_1, (each[:10] for each in values))
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


def fill(path: Path, values) -> None:
    with closing(connect(path)) as connection:
        _insert(connection, values)


def _insert(connection, values):
    connection.execute("BEGIN")
    connection.executemany(INSERT, values)
    connection.execute("COMMIT")


def killed(path: Path, values, *, checkpointed=()) -> None:
    """A ledger as SIGKILL leaves it: the last replies are in its log only."""
    source = path.with_name("running.sqlite")
    with closing(connect(source)) as connection:
        _insert(connection, checkpointed)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        _insert(connection, values)
        shutil.copy(source, path)
        shutil.copy(f"{source}-wal", f"{path}-wal")
    source.unlink()


def cut(path: Path, share: float) -> None:
    """What is left of a file whose end is gone, to the byte."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def overwrite(path: Path, pages, *, filler=b"\xa5") -> None:
    """Write nonsense over some pages, numbered from 1."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * PAGE)
            file.write(filler * PAGE)


def leaves(path: Path) -> list[int]:
    """Pages that hold replies."""
    data = path.read_bytes()
    return [at // PAGE + 1 for at in range(PAGE, len(data), PAGE) if data[at] == 0x0D]


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file; not the shared memory and the empty log that readers leave."""
    found = {each.name: each.read_bytes() for each in folder.iterdir()}
    return {
        name: content
        for name, content in found.items()
        if not name.endswith("-shm") and (content or not name.endswith("-wal"))
    }


@contextmanager
def plainly(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as SQLite alone sees it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def bodies(path: Path) -> dict[int, bytes]:
    with plainly(path) as connection:
        return dict(connection.execute("SELECT number, body FROM replies"))
