"""The ledger: real SQLite files, real threads, and a second process."""

import asyncio
import hashlib
import resource
import shutil
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from vision_pipeline.adapters.ledger.opening import connect
from vision_pipeline.adapters.ledger.reserve import Reserve
from vision_pipeline.adapters.ledger.schema import SCHEMA_VERSION
from vision_pipeline.adapters.ledger.writer import SqliteLedger
from vision_pipeline.core.errors import OutputError, StorageError
from vision_pipeline.core.records import Amount, ReceivedReply, StoredReply

MOMENT = datetime(2026, 11, 22, 10, 15, 0, 123456, tzinfo=UTC)


def key(name="a"):
    return hashlib.sha256(str(name).encode()).hexdigest()


def reply(body=b"{}", *, cost_usd=0.5, paid_by="run-1/cat.png", answered_at=MOMENT):
    received = ReceivedReply(
        body=body, attempts=2, queued_s=0.25, latency_s=1.5, answered_at=answered_at
    )
    return StoredReply(received=received, paid_by=paid_by, cost_usd=cost_usd)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "ledger.sqlite"


@contextmanager
def opened(path):
    with closing(SqliteLedger(path)) as ledger:
        yield ledger


@pytest.fixture
def ledger(path):
    with opened(path) as found:
        yield found


@contextmanager
def held(path):
    """The file as another process holds it for a commit: whoever writes has to wait."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def largest_file(size_bytes):
    """A disk without room: no file of this process may grow beyond that size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def let_run():
    for _ in range(5):
        await asyncio.sleep(0)


# --- replies


async def test_a_reply_comes_back_as_it_was(ledger):
    await ledger.remember(key(), reply(b"\x00\xff"), run_id="run-1")
    assert await ledger.recall(key()) == reply(b"\x00\xff")


async def test_a_reply_without_a_price_has_none_afterwards(ledger):
    await ledger.remember(key(), reply(cost_usd=None), run_id="run-1")
    assert (await ledger.recall(key())).cost_usd is None


async def test_moments_come_back_in_utc(ledger):
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await ledger.remember(key(), reply(answered_at=elsewhere), run_id="run-1")
    found = (await ledger.recall(key())).received.answered_at
    assert (found, found.utcoffset()) == (MOMENT, timedelta())


async def test_replies_are_there_when_the_file_is_opened_again(path):
    with opened(path) as ledger:
        await ledger.remember(key(), reply(), run_id="run-1")
    with opened(path) as ledger:
        assert await ledger.recall(key()) == reply()


async def test_the_newest_reply_of_a_key_counts_and_all_were_paid_for(ledger):
    await ledger.remember(key(), reply(b"first"), run_id="run-1")
    await ledger.remember(key(), reply(b"second"), run_id="run-2")
    assert (await ledger.recall(key())).received.body == b"second"
    assert (await ledger.spent("run-1")).usd == (await ledger.spent("run-2")).usd > 0


async def test_an_unknown_key_has_no_reply(ledger):
    assert await ledger.recall(key("never asked")) is None


async def test_what_a_run_spent_is_the_sum_of_its_replies(ledger):
    await ledger.remember(key(1), reply(cost_usd=0.25), run_id="run-1")
    await ledger.remember(key(2), reply(cost_usd=0.5), run_id="run-1")
    await ledger.remember(key(3), reply(cost_usd=None), run_id="run-1")
    await ledger.remember(key(4), reply(cost_usd=8), run_id="run-2")
    assert (await ledger.spent("run-1")).usd == 0.75
    assert (await ledger.spent("run-3")).usd == 0


async def test_what_was_spent_since_a_moment_is_summed_up_over_all_runs(ledger):
    for name, shift_s, mode in (("a", -1e-6, "batch"), ("b", 0, "batch"), ("c", 1, "realtime")):
        moment = MOMENT + timedelta(seconds=shift_s)
        received = replace(reply().received, answered_at=moment, mode=mode)
        stored = StoredReply(received, f"{name}/x", 0.5, 10)
        await ledger.remember(key(name), stored, run_id=name)
        assert await ledger.recall(key(name)) == stored
    assert await ledger.spent_since(MOMENT) == Amount(1.0, 20)
    assert await ledger.spent_since(MOMENT + timedelta(days=2)) == Amount()


async def test_many_at_once_are_all_kept(path):
    with opened(path) as ledger:
        remembering = (
            ledger.remember(key(n), reply(str(n).encode()), run_id="run-1") for n in range(500)
        )
        await asyncio.gather(*remembering)
    with opened(path) as ledger:
        found = await asyncio.gather(*(ledger.recall(key(n)) for n in range(500)))
    assert [each.received.body for each in found] == [str(n).encode() for n in range(500)]


# --- ends


async def test_closing_keeps_what_still_waits(path):
    with opened(path) as ledger:
        remembering = [
            asyncio.create_task(ledger.remember(key(n), reply(), run_id="run-1"))
            for n in range(200)
        ]
        await let_run()
    await asyncio.gather(*remembering)
    with opened(path) as ledger:
        assert (await ledger.spent("run-1")).usd == 100


async def test_a_cancelled_waiter_does_not_lose_its_reply(path):
    with opened(path) as ledger, held(path):
        remembering = asyncio.create_task(ledger.remember(key(), reply(), run_id="run-1"))
        await let_run()
        remembering.cancel()
        await asyncio.gather(remembering, return_exceptions=True)
    with opened(path) as ledger:
        assert await ledger.recall(key()) == reply()
    assert remembering.cancelled()


def test_the_end_of_the_event_loop_does_not_lose_a_reply(path):
    async def leave(ledger):
        remembering = asyncio.create_task(ledger.remember(key(), reply(), run_id="run-1"))
        await let_run()
        return remembering

    with opened(path) as ledger, held(path):
        assert asyncio.run(leave(ledger)).cancelled()
    with opened(path) as ledger:
        assert asyncio.run(ledger.recall(key())) == reply()


async def test_a_closed_ledger_says_so_and_does_not_hang(path):
    with opened(path) as ledger:
        pass
    ledger.close()
    with pytest.raises(StorageError, match="closed"):
        await ledger.recall(key())
    with pytest.raises(StorageError, match=r"ledger\.sqlite"):
        await ledger.remember(key(), reply(), run_id="run-1")


# --- trouble in mid-run


async def test_a_full_disk_is_a_storage_error_and_room_mends_it(path):
    with opened(path) as ledger:
        with largest_file(200_000), pytest.raises(StorageError, match=r"ledger\.sqlite"):
            await ledger.remember(key(), reply(bytes(1_000_000)), run_id="run-1")
        assert await ledger.recall(key()) is None
    with opened(path) as ledger:
        await ledger.remember(key(), reply(), run_id="run-1")
        assert await ledger.recall(key()) == reply()


class FullAtFirst:
    """A connection to a disk that is full from the second commit on while the reserve is there."""

    def __init__(self, path):
        self._connection = connect(path)
        self._reserve = reserve_of(path).path
        self._commits = 0

    def execute(self, statement, *values):
        if statement == "COMMIT":
            self._commits += 1
            if self._commits > 1 and self._reserve.exists():
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
        return self._connection.execute(statement, *values)

    def close(self):
        self._connection.close()


def reserve_of(path):
    return Reserve(path, 100_000)


async def test_what_is_in_flight_when_the_disk_fills_up_is_stored_and_said_to_be_the_last(
    path, monkeypatch
):
    monkeypatch.setattr("vision_pipeline.adapters.ledger.writer.connect", FullAtFirst)
    with opened(path) as ledger:
        await ledger.remember(key(0), reply(), run_id="run-1")
        outcomes = await asyncio.gather(
            *(ledger.remember(key(each), reply(), run_id="run-1") for each in range(1, 4)),
            return_exceptions=True,
        )
        assert ["disk is full" in str(outcome) for outcome in outcomes] == [True] * 3
        with pytest.raises(StorageError, match="disk is full"):
            await ledger.remember(key(4), reply(), run_id="run-1")
        assert [await ledger.recall(key(each)) for each in range(5)] == [reply()] * 5
        assert not reserve_of(path).path.exists()
    monkeypatch.undo()
    with opened(path) as ledger:
        await ledger.remember(key(5), reply(), run_id="run-1")
    assert reserve_of(path).path.exists()


async def test_a_process_that_shares_the_ledger_sees_by_the_reserve_that_the_disk_is_full(path):
    with opened(path) as ledger:
        await ledger.remember(key(0), reply(), run_id="run-1")
        reserve_of(path).give_up()
        with (
            largest_file(500_000),
            pytest.raises(StorageError, match="another process that shares it has found the disk"),
        ):
            await ledger.remember(key(1), reply(), run_id="run-1")
        assert await ledger.recall(key(1)) == reply()


def test_a_reserve_that_is_gone_comes_back_only_where_the_disk_has_twice_the_room(path):
    path.parent.mkdir()
    free_bytes = shutil.disk_usage(path.parent).free
    assert not Reserve(path, 2 * free_bytes).keep(again=False)
    assert not Reserve(path, int(0.7 * free_bytes)).keep(again=True)
    assert not reserve_of(path).path.exists()
    assert reserve_of(path).keep(again=True)
    assert reserve_of(path).path.stat().st_size == 100_000


async def test_a_disk_without_room_for_the_reserve_goes_without(path):
    with largest_file(500_000), opened(path) as ledger:
        await ledger.remember(key(), reply(), run_id="run-1")
        assert await ledger.recall(key()) == reply()
    assert sorted(each.name for each in path.parent.iterdir()) == ["ledger.sqlite"]


async def test_who_only_looks_up_needs_no_reserve(path):
    with opened(path) as ledger:
        assert await ledger.recall(key()) is None
    assert not reserve_of(path).path.exists()


async def test_a_file_that_breaks_under_the_ledger_is_a_storage_error(path):
    with opened(path) as ledger:
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE replies")
        with pytest.raises(StorageError, match="no such table"):
            await ledger.recall(key())


@pytest.mark.parametrize("bad", ["not hex", "abc", "é"])
async def test_a_key_that_is_no_digest_hurts_nobody_else(ledger, bad):
    with pytest.raises(ValueError, match="hex"):
        await ledger.recall(bad)
    with pytest.raises(ValueError, match="hex"):
        await ledger.remember(bad, reply(), run_id="run-1")
    assert await ledger.recall(key()) is None


async def test_a_value_that_sqlite_cannot_hold_hurts_nobody_later(ledger):
    with pytest.raises(UnicodeEncodeError):
        await ledger.remember(key(), reply(paid_by="\udcff"), run_id="run-1")
    await ledger.remember(key(), reply(), run_id="run-1")
    assert await ledger.recall(key()) == reply()


# --- two at once

CHECKOUT = Path(__file__).parents[2]
OTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from tests.adapters.test_ledger import alternate
asyncio.run(alternate(Path(sys.argv[1]), "other"))
"""


async def alternate(path, name, count=150):
    """Look up and keep in turns, so that the same transaction does both."""
    with opened(path) as ledger:
        work = []
        for n in range(count):
            work.append(ledger.recall(key(f"{name} {n}")))
            work.append(ledger.remember(key(f"{name} {n}"), reply(), run_id=name))
        for start in range(0, len(work), 10):
            await asyncio.gather(*work[start : start + 10])


async def test_two_processes_share_one_file(path):
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER_PROCESS, str(path), stderr=asyncio.subprocess.PIPE, cwd=CHECKOUT
    )
    await alternate(path, "this")
    _, complaint = await other.communicate()
    with opened(path) as ledger:
        spent = [(await ledger.spent(name)).usd for name in ("this", "other")]
    assert (other.returncode, complaint) == (0, b"")
    assert spent == [75, 75]


async def test_two_that_look_up_and_keep_at_once_do_not_refuse_each_other(path):
    await asyncio.gather(
        *(asyncio.to_thread(asyncio.run, alternate(path, name)) for name in ("this", "other"))
    )
    with opened(path) as ledger:
        assert (await ledger.spent("this")).usd == (await ledger.spent("other")).usd == 75


@pytest.mark.parametrize("round_number", range(8))
def test_many_may_open_a_new_file_at_once(path, round_number):
    together = threading.Barrier(12)

    def open_and_close(_):
        together.wait()
        SqliteLedger(path).close()

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(open_and_close, range(12)))
    with opened(path) as ledger:
        assert asyncio.run(ledger.recall(key())) is None


async def test_opening_waits_for_whoever_reads_the_file(path):
    with opened(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("PRAGMA journal_mode = DELETE")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM replies").fetchone()
        opening = asyncio.create_task(asyncio.to_thread(SqliteLedger, path))
        done, _ = await asyncio.wait({opening}, timeout=0.1)
        reader.execute("ROLLBACK")
    assert done == set()
    (await opening).close()


# --- files that are no ledgers


def foreign(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (n)")


def newer(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE replies (n)")
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def text(path):
    path.write_text("image,total\n" * 1000)


def short_text(path):
    path.write_text("notes")


def cut(path):
    foreign(path)
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize("make", [foreign, newer, text, short_text, cut])
def test_a_file_that_is_no_ledger_is_refused_and_left_as_it_is(tmp_path, make):
    path = tmp_path / "ledger.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"ledger\.sqlite: "):
        SqliteLedger(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_a_newer_ledger_is_told_apart(tmp_path):
    newer(tmp_path / "ledger.sqlite")
    with pytest.raises(OutputError, match="upgrade vision-pipeline"):
        SqliteLedger(tmp_path / "ledger.sqlite")


def test_an_empty_file_becomes_a_ledger(tmp_path):
    (tmp_path / "ledger.sqlite").touch()
    with opened(tmp_path / "ledger.sqlite") as ledger:
        assert asyncio.run(ledger.recall(key())) is None


def test_a_folder_that_cannot_be_made_or_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "ledger.sqlite", tmp_path):
        with pytest.raises(OutputError, match=str(path)):
            SqliteLedger(path)
