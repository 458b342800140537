"""Damaged ledgers: told when they are opened where that is cheap, and else when they are read."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from tests.adapters.ledgers import (
    MOMENT,
    PAGE,
    cut,
    files,
    fill,
    first_format,
    key,
    killed,
    leaves,
    overwrite,
    plainly,
    row,
    rows,
)
from vision_pipeline.adapters.ledger.damage import DamageError
from vision_pipeline.adapters.ledger.opening import connect, reading
from vision_pipeline.adapters.ledger.schema import SCHEMA_VERSION, STEPS, bring_up_to_date
from vision_pipeline.adapters.ledger.writer import SqliteLedger
from vision_pipeline.core.errors import OutputError, StorageError
from vision_pipeline.core.records import Amount, ReceivedReply, StoredReply

REPLY = StoredReply(ReceivedReply(b"{}", 1, 0.0, 0.5, MOMENT), "run-3/new.png", 0.5)


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "ledger.sqlite"


def refused(path):
    """The message with which a ledger is refused; nothing beside it may have changed."""
    before = files(path.parent)
    with pytest.raises(DamageError) as caught:
        connect(path)
    with pytest.raises(DamageError), reading(path):
        pass
    assert files(path.parent) == before
    return str(caught.value)


# --- at the start


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9999])
def test_a_ledger_that_was_cut_is_refused_with_the_command_that_salvages_it(path, share):
    fill(path, rows(200))
    cut(path, share)
    assert f"vision-pipeline ledger salvage {path}" in refused(path)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_ledger_that_was_cut_while_its_log_was_pending_is_refused(path, share):
    killed(path, rows(30, seed=1), checkpointed=rows(200))
    cut(path, share)
    assert "pages at its end are missing" in refused(path)


def test_a_ledger_that_a_kill_left_is_whole_whatever_its_log_still_holds(path):
    killed(path, rows(200))
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM replies").fetchone() == (200,)


def test_a_ledger_that_was_killed_while_its_log_was_carried_over_is_whole(path):
    killed(path, rows(200))
    log = path.with_name("ledger.sqlite-wal").read_bytes()
    with plainly(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    cut(path, 0.5)
    path.with_name("ledger.sqlite-wal").write_bytes(log)
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM replies").fetchone() == (200,)


@pytest.mark.parametrize("lose", ["unlink", "touch"])
def test_a_log_without_its_ledger_is_neither_deleted_nor_taken_for_a_new_one(path, lose):
    killed(path, rows(20))
    path.unlink()
    if lose == "touch":
        path.touch()
    assert "ledger.sqlite-wal is there" in refused(path)


@pytest.mark.parametrize("filler", [b"\xa5", b"\0"])
def test_a_ledger_without_its_first_page_is_refused(path, filler):
    fill(path, rows(20))
    overwrite(path, [1], filler=filler)
    assert "not a database" in refused(path)


# --- in mid-run


@pytest.fixture
def broken(path):
    """A ledger whose replies cannot be read any more, but for those in its log."""
    fill(path, rows(200))
    overwrite(path, leaves(path))
    return path


async def test_damage_that_is_met_in_mid_run_stops_it_with_the_same_advice(broken):
    with (
        closing(SqliteLedger(broken)) as ledger,
        pytest.raises(StorageError, match="vision-pipeline ledger salvage") as caught,
    ):
        await ledger.recall(key(7))
    assert str(broken) in str(caught.value)


async def test_a_look_up_that_meets_damage_takes_no_reply_of_its_group_with_it(path):
    fill(path, rows(200))
    overwrite(path, leaves(path)[:-5])
    with closing(SqliteLedger(path)) as ledger:
        outcomes = await asyncio.gather(
            ledger.remember(key("new"), REPLY, run_id="run-3"),
            ledger.recall(key(7)),
            ledger.remember(key("newer"), REPLY, run_id="run-3"),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], StorageError)
        assert await ledger.recall(key("new")) == await ledger.recall(key("newer")) == REPLY


@pytest.mark.parametrize(
    "nonsense", [{"answered_at": "soon"}, {"answered_at": 5}, {"body": "a text"}, {"mode": "slow"}]
)
async def test_a_row_that_no_ledger_writes_is_damage(path, nonsense):
    fill(path, [row("a", **nonsense)])
    with (
        closing(SqliteLedger(path)) as ledger,
        pytest.raises(StorageError, match="vision-pipeline ledger salvage"),
    ):
        await ledger.recall(key("a"))


# --- reading


def test_reading_a_file_that_is_not_there_makes_none(path):
    with pytest.raises(OutputError, match="no such file"), reading(path):
        pass
    assert not path.exists()


def test_reading_an_empty_file_says_that_it_is_no_ledger_yet(path):
    path.touch()
    with pytest.raises(OutputError, match="no ledger yet"), reading(path):
        pass


def test_reading_leaves_a_pending_log_where_it_is(path):
    killed(path, rows(20))
    before = files(path.parent)
    with reading(path) as connection:
        assert connection.execute("SELECT count(*) FROM replies").fetchone() == (20,)
    assert files(path.parent) == before


# --- formats


@pytest.fixture
def first(path):
    """A file of format 1 with ten replies, as the first release wrote it."""
    first_format(path, rows(10))
    return path


def test_a_file_of_the_first_format_is_read(first):
    with closing(SqliteLedger(first)) as ledger:
        assert asyncio.run(ledger.recall(key(3))).paid_by == "run-1/3.png"


def test_the_first_step_still_makes_the_first_format(first, tmp_path):
    with plainly(tmp_path / "made.sqlite") as made, plainly(first) as old:
        bring_up_to_date(made, tmp_path / "made.sqlite", steps=STEPS[:1])
        found = [each.execute("SELECT sql FROM sqlite_master").fetchall() for each in (made, old)]
    assert found[0] == found[1]


LATER = (*STEPS, ("ALTER TABLE replies ADD COLUMN model TEXT", "UPDATE replies SET model = 'm'"))


def test_a_file_of_an_older_format_is_migrated_with_its_replies(first):
    with plainly(first) as connection:
        bring_up_to_date(connection, first, steps=LATER)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
        found = connection.execute("SELECT count(*), min(model) FROM replies").fetchone()
    assert found == (10, "m")


def test_a_migration_counts_the_tokens_that_were_paid_for(path):
    copy = row("c", paid_by="run-0/a.png", cost_usd=0.0)
    first_format(path, [row("a"), row("b", body=b"no completion"), copy])
    with closing(SqliteLedger(path)) as ledger:
        assert asyncio.run(ledger.spent("run-1")) == Amount(1.0, 110)
        assert asyncio.run(ledger.spent_since(MOMENT)) == Amount(1.0, 110)
        found = asyncio.run(ledger.recall(key("a")))
        assert (found.tokens, found.received.mode) == (110, "realtime")
    with plainly(path) as connection:
        found = connection.execute("SELECT mode, tokens FROM replies").fetchall()
    assert found == [("realtime", 110), ("realtime", None), ("realtime", 0)]


def test_a_migrated_file_is_not_migrated_again(first):
    with plainly(first) as connection:
        bring_up_to_date(connection, first, steps=LATER)
        bring_up_to_date(connection, first, steps=LATER)


def test_a_migration_that_fails_leaves_the_file_as_it_was(first):
    failing = (*LATER, ("UPDATE replies SET key = NULL",))
    with plainly(first) as connection:
        with pytest.raises(sqlite3.IntegrityError):
            bring_up_to_date(connection, first, steps=failing)
        columns = [each[1] for each in connection.execute("PRAGMA table_info(replies)")]
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert "model" not in columns


def test_a_file_that_is_read_only_for_looking_is_migrated_first(first, monkeypatch):
    monkeypatch.setattr(
        "vision_pipeline.adapters.ledger.opening.SCHEMA_VERSION", SCHEMA_VERSION + 1
    )
    monkeypatch.setattr("vision_pipeline.adapters.ledger.damage.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(bring_up_to_date, "__kwdefaults__", {"steps": LATER})
    with reading(first) as connection:
        assert connection.execute("SELECT min(model) FROM replies").fetchone() == ("m",)


def test_a_page_is_as_large_as_these_tests_think(path):
    fill(path, [])
    with plainly(path) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (PAGE,)
