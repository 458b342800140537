"""The ledger in a database: a real PostgreSQL, real threads, and outages."""

import asyncio
import hashlib
import io
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import psycopg
import pyarrow.parquet as pq
import pytest

from tests.fakes import completion
from tests.servers import PASSWORD, free_port
from vision_pipeline.adapters.ledger.export import write_json_lines, write_parquet
from vision_pipeline.adapters.ledger.inspection import RunInLedger
from vision_pipeline.adapters.ledger.postgres.opening import connect, open_ledger
from vision_pipeline.adapters.ledger.postgres.schema import STEPS, bring_up_to_date
from vision_pipeline.adapters.ledger.postgres.tools import DatabaseTools
from vision_pipeline.adapters.ledger.postgres.writer import PostgresLedger
from vision_pipeline.adapters.ledger.pruning import Choice
from vision_pipeline.adapters.ledger.verification import Fault
from vision_pipeline.core.databases import Database
from vision_pipeline.core.errors import OutputError, StorageError
from vision_pipeline.core.records import Amount, ReceivedReply, StoredReply

MOMENT = datetime(2026, 11, 22, 10, 15, 0, 123456, tzinfo=UTC)
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def key(name="a"):
    return hashlib.sha256(str(name).encode()).hexdigest()


def reply(text="yes", *, body=None, cost_usd=0.5, paid_by="run-1/cat.png", answered_at=MOMENT):
    received = ReceivedReply(
        body=completion(text) if body is None else body,
        attempts=2,
        queued_s=0.25,
        latency_s=1.5,
        answered_at=answered_at,
    )
    return StoredReply(received=received, paid_by=paid_by, cost_usd=cost_usd)


@pytest.fixture
def refuge(tmp_path):
    return tmp_path / "state" / "ledger"


@pytest.fixture
def opened(database, refuge):
    """Opens ledgers on the database; closes them."""
    ledgers = []

    def open_one(patience_s=30.0, **more):
        ledgers.append(PostgresLedger(database, refuge=refuge, patience_s=patience_s, **more))
        return ledgers[-1]

    yield open_one
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def count(postgres, database):
    """How many replies there are."""

    def counted():
        with closing(psycopg.connect(database.url, password=PASSWORD)) as connection:
            return connection.execute("SELECT count(*) FROM vision_pipeline_replies").fetchone()[0]

    return counted


# --- replies


async def test_a_reply_comes_back_as_it_was_also_to_another_machine(opened):
    first, second = opened(), opened()
    await first.remember(key(), reply(), run_id="run-1")
    assert await second.recall(key()) == reply()
    assert await second.recall(key("unknown")) is None


async def test_of_two_replies_the_newer_one_counts_and_both_are_kept(opened, count):
    ledger = opened()
    await ledger.remember(key(), reply("old"), run_id="run-1")
    await ledger.remember(key(), reply("new"), run_id="run-2")
    assert await ledger.recall(key()) == reply("new")
    assert count() == 2


async def test_a_thousand_replies_at_once_are_all_there(opened, count):
    ledger = opened()
    names = range(1000)
    await asyncio.gather(*(ledger.remember(key(n), reply(str(n)), run_id="r") for n in names))
    found = await asyncio.gather(*(ledger.recall(key(n)) for n in names))
    assert found == [reply(str(n)) for n in names]
    assert count() == 1000


async def test_what_a_run_has_spent_is_summed_up_and_replies_without_a_price_cost_nothing(opened):
    ledger = opened()
    for name, cost_usd in (("a", 0.25), ("b", None), ("c", 0.5)):
        await ledger.remember(key(name), reply(cost_usd=cost_usd), run_id="run-1")
    await ledger.remember(key("d"), reply(cost_usd=8), run_id="run-2")
    assert (await ledger.spent("run-1")).usd == 0.75
    assert (await ledger.spent("run-3")).usd == 0.0


async def test_what_was_spent_since_a_moment_is_summed_up_over_all_runs(opened):
    ledger = opened()
    for name, days, mode in (("a", -1, "batch"), ("b", 0, "batch"), ("c", 1, "realtime")):
        received = replace(reply().received, answered_at=MOMENT + timedelta(days=days), mode=mode)
        stored = StoredReply(received, f"{name}/x", 0.5, 10)
        await ledger.remember(key(name), stored, run_id=name)
        assert await ledger.recall(key(name)) == stored
    assert await ledger.spent_since(MOMENT) == Amount(1.0, 20)
    assert await ledger.spent_since(MOMENT + timedelta(days=2)) == Amount()


async def test_bytes_of_any_kind_and_a_nul_in_a_name_are_no_reason_to_lose_a_reply(opened):
    ledger = opened()
    await ledger.remember(key(), reply(body=bytes(range(256)), paid_by="r/a\0b"), run_id="r")
    found = await ledger.recall(key())
    assert found.received.body == bytes(range(256))
    assert found.paid_by == "r/a\N{SYMBOL FOR NULL}b"


async def test_a_commit_is_on_disk_although_the_role_does_not_care(opened, postgres, database):
    with postgres.connect(database.url) as connection:
        connection.execute("ALTER ROLE tester SET synchronous_commit = off")
        try:
            with closing(open_ledger(database)) as mine:
                assert mine.execute("SHOW synchronous_commit").fetchone() == ("on",)
        finally:
            connection.execute("ALTER ROLE tester RESET synchronous_commit")


async def test_a_closed_ledger_takes_nothing(opened):
    ledger = opened()
    ledger.close()
    with pytest.raises(StorageError, match="closed"):
        await ledger.recall(key())


async def test_who_no_longer_waits_does_not_keep_a_reply_from_being_kept(opened, count):
    ledger = opened()
    waiting = asyncio.ensure_future(ledger.remember(key(), reply(), run_id="r"))
    await asyncio.sleep(0)
    waiting.cancel()
    await ledger.recall(key())
    assert count() == 1


# --- outages


class Pause:
    """Stands in for waiting; does something about the outage at a certain try."""

    def __init__(self, at, then):
        self.waits_s = []
        self._at, self._then = at, then

    def __call__(self, wait_s):
        self.waits_s.append(wait_s)
        if len(self.waits_s) == self._at:
            self._then()


async def test_a_server_that_restarts_costs_a_wait_and_no_reply(opened, postgres, refuge, count):
    kept = []

    def begin_again():
        kept.extend(refuge.iterdir())
        postgres.start()

    pause = Pause(3, begin_again)
    ledger = opened(pause=pause)
    await ledger.remember(key("before"), reply(), run_id="r")
    postgres.stop()
    answers = await asyncio.gather(
        ledger.remember(key(), reply("paid"), run_id="r"), ledger.recall(key("before"))
    )
    assert answers == [None, reply()]
    assert pause.waits_s[:3] == [0.5, 1.0, 2.0]
    assert len(kept) == 1  # on this machine's disk as long as the database was away
    assert not list(refuge.iterdir())
    assert await ledger.recall(key()) == reply("paid")
    assert count() == 2


async def test_a_connection_that_is_cut_is_made_anew(opened, postgres, database, count):
    ledger = opened(pause=lambda _: None)
    with postgres.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'vision-pipeline'"
        )
    await ledger.remember(key(), reply(), run_id="r")
    assert count() == 1


async def test_a_database_that_stays_away_ends_the_run_and_the_next_one_takes_up_its_replies(
    opened, postgres, refuge, count
):
    ledger = opened(patience_s=0)
    postgres.stop()
    try:
        with pytest.raises(StorageError, match="1 paid replies are kept in") as failed:
            await ledger.remember(key(), reply("paid"), run_id="r")
        with pytest.raises(StorageError, match="2 paid replies"):  # it was on the wire
            await ledger.remember(key("b"), reply("too"), run_id="r")
        with pytest.raises(StorageError, match="the same command goes on"):
            await ledger.recall(key())
        ledger.close()
        assert PASSWORD not in str(failed.value) + "".join(p.read_text() for p in refuge.iterdir())
    finally:
        postgres.start()
    assert len(list(refuge.iterdir())) == 1
    again = opened()
    assert await again.recall(key()) == reply("paid")
    assert await again.recall(key("b")) == reply("too")
    assert count() == 2
    assert not list(refuge.iterdir())


async def test_a_database_that_comes_back_late_gets_all_that_was_kept(opened, postgres, count):
    ledger = opened(patience_s=0)
    postgres.stop()
    try:
        with pytest.raises(StorageError):
            await ledger.remember(key("a"), reply(), run_id="r")
    finally:
        postgres.start()
    await ledger.remember(key("b"), reply(), run_id="r")
    assert count() == 2


async def test_a_reply_that_is_taken_up_twice_stands_there_once(opened, postgres, refuge, count):
    ledger = opened(patience_s=0)
    postgres.stop()
    try:
        with pytest.raises(StorageError):
            await ledger.remember(key(), reply(), run_id="r")
        (file,) = refuge.iterdir()
        content = file.read_bytes()
    finally:
        postgres.start()
    opened()
    file.write_bytes(content + content[:40])  # and a line that was cut off in the middle
    opened()
    assert count() == 1
    assert not list(refuge.iterdir())


async def test_replies_of_another_database_are_left_to_it(opened, postgres, database, refuge):
    refuge.mkdir(parents=True)
    other = hashlib.sha256(b"postgresql://elsewhere/db").hexdigest()[:16]
    (refuge / f"{other}-1-aa.jsonl").write_bytes(b"whatever\n")
    opened()
    assert len(list(refuge.iterdir())) == 1


def test_a_damaged_line_of_kept_replies_is_named_and_nothing_is_thrown_away(database, refuge):
    refuge.mkdir(parents=True)
    name = hashlib.sha256(database.url.encode()).hexdigest()[:16]
    file = refuge / f"{name}-1-aa.jsonl"
    file.write_bytes(orjson.dumps({"receipt": "no"}) + b"\n")
    with pytest.raises(OutputError, match=r"line 1 is no reply .*mend it, or move it away"):
        PostgresLedger(database, refuge=refuge, patience_s=1)
    assert file.exists()


async def test_where_nothing_can_be_kept_the_message_says_what_is_lost(opened, postgres, refuge):
    refuge.parent.mkdir(parents=True)
    refuge.write_text("a file where the folder should be")
    ledger = opened(patience_s=0)
    postgres.stop()
    try:
        with pytest.raises(StorageError, match=r"1 paid replies could not be kept in .* either"):
            await ledger.remember(key(), reply(), run_id="r")
        ledger.close()
    finally:
        postgres.start()


async def test_what_no_wait_can_mend_is_not_waited_for(opened, postgres, database):
    pause = Pause(0, None)
    ledger = opened(pause=pause)
    with postgres.connect(database.url) as connection:
        connection.execute("DROP TABLE vision_pipeline_replies")
    with pytest.raises(StorageError, match="does not exist"):
        await ledger.recall(key())
    assert pause.waits_s == []


async def test_closing_ends_the_wait_and_keeps_the_reply(opened, postgres, refuge):
    waits = threading.Event()
    ledger = opened(pause=lambda _: waits.set())
    postgres.stop()
    try:
        waiting = asyncio.ensure_future(ledger.remember(key(), reply(), run_id="r"))
        await asyncio.to_thread(waits.wait)
        assert list(refuge.iterdir())
        await asyncio.to_thread(ledger.close)
        with pytest.raises(StorageError, match="are kept in"):
            await waiting
    finally:
        postgres.start()


# --- opening


@pytest.mark.parametrize(
    "url",
    ["postgresql://tester@127.0.0.1:{closed}/db", "postgresql://127.0.0.1/db?nonsense=1"],
)
def test_a_database_that_cannot_be_used_is_refused_with_its_address(url, refuge):
    database = Database(url.format(closed=free_port()), PASSWORD)
    with pytest.raises(OutputError, match="cannot be used as a ledger") as refused:
        PostgresLedger(database, refuge=refuge, patience_s=600)
    assert str(refused.value).startswith(database.url)
    assert PASSWORD not in str(refused.value)


def test_a_wrong_password_is_refused_and_not_shown(database, refuge):
    wrong = Database(database.url, "guessed-wrong")
    with pytest.raises(OutputError, match="password authentication failed") as refused:
        PostgresLedger(wrong, refuge=refuge, patience_s=600)
    assert "guessed-wrong" not in str(refused.value) + repr(wrong)


def test_tables_of_a_newer_version_are_refused(opened, database, postgres, refuge):
    opened()
    with postgres.connect(database.url) as connection:
        connection.execute("UPDATE vision_pipeline_ledger SET format = 99")
    with pytest.raises(OutputError, match=r"format 99.*upgrade vision-pipeline"):
        PostgresLedger(database, refuge=refuge, patience_s=600)


def test_older_tables_are_migrated_in_one_transaction(opened, database):
    opened()
    column = "ALTER TABLE vision_pipeline_replies ADD COLUMN note text"
    with closing(open_ledger(database)) as connection:
        with pytest.raises(psycopg.Error):
            bring_up_to_date(connection, database, steps=(*STEPS, (column, "no statement")))
        bring_up_to_date(connection, database, steps=(*STEPS, (column,)))
        assert connection.execute("SELECT format FROM vision_pipeline_ledger").fetchall() == [(3,)]


async def test_a_migration_counts_the_tokens_that_were_paid_for(database, opened):
    with closing(connect(database)) as connection:
        bring_up_to_date(connection, database, steps=STEPS[:1])
        for name, payer, body in (
            ("a", "run-1", completion('"prompt_tokens": 7')),
            ("b", "run-1", b"\xff no completion"),
            ("c", "run-0", completion("c")),
        ):
            connection.execute(
                "INSERT INTO vision_pipeline_replies (receipt, key, body, run_id, paid_by, "
                "cost_usd, attempts, queued_s, latency_s, answered_at) "
                "VALUES (gen_random_uuid(), %b, %b, 'run-1', %s, 0.5, 1, 0, 1, %s)",
                [bytes.fromhex(key(name)), body, f"{payer}/{name}.png", MOMENT],
            )
    ledger = opened()
    assert await ledger.spent("run-1") == await ledger.spent_since(MOMENT) == Amount(1.5, 110)
    assert (await ledger.recall(key("a"))).received.mode == "realtime"


async def test_several_that_come_at_once_make_one_ledger(database, refuge):
    def one():
        PostgresLedger(database, refuge=refuge, patience_s=1).close()

    await asyncio.gather(*(asyncio.to_thread(one) for _ in range(6)))
    assert DatabaseTools(database).probe() == "answers; 0 replies"


# --- tools


@pytest.fixture
async def tools(opened, database):
    """Four replies: two questions of run-1, one of them asked again by run-2, and one without."""
    ledger = opened()
    later = MOMENT + timedelta(days=2)
    await ledger.remember(key("a"), reply("a", paid_by="run-1/a"), run_id="run-1")
    await ledger.remember(key("b"), reply("b", paid_by="run-1/b"), run_id="run-1")
    new = reply("c", paid_by="run-2/a", answered_at=later, cost_usd=None)
    await ledger.remember(key("a"), new, run_id="run-2")
    return DatabaseTools(database)


def test_an_inspection_counts_replies_questions_runs_and_models(tools, database):
    found = tools.inspect()
    assert (found.path, found.format_version, found.log_bytes) == (database.url, 2, 0)
    assert (found.replies, found.questions, found.asked_again, found.cost_usd) == (3, 2, 1, 1.0)
    assert found.models == {"m": 3}
    later = (MOMENT + timedelta(days=2)).isoformat()
    assert found.runs == [
        RunInLedger("run-1", 2, 1.0, MOMENT.isoformat(), MOMENT.isoformat()),
        RunInLedger("run-2", 1, None, later, later),
    ]
    assert found.file_bytes == tools.size_bytes() > 0


def test_payments_are_those_of_the_runs_asked_for(tools):
    found = [(each.paid_by, each.cost_usd) for each in tools.payments({"run-2"})]
    assert found == [("run-2/a", None)]
    assert len(tools.payments(["run-1", "run-2"])) == 3


def test_a_sound_ledger_has_no_findings(tools):
    found = tools.verify(now=NOW)
    assert (found.replies, found.findings) == (3, [])


async def test_a_verification_finds_what_is_wrong_with_replies(tools, opened):
    ledger = opened()
    await ledger.remember(key("x"), reply(body=b"no json", paid_by="run-9/x"), run_id="run-9")
    await ledger.remember(key("y"), reply(paid_by="run-8/y"), run_id="run-9")
    found = tools.verify(now=NOW)
    assert {each.fault: each.rows for each in found.findings} == {
        Fault.UNREADABLE_BODY: 1,
        Fault.PAYER: 1,
    }


def test_all_replies_are_exported_with_their_bodies(tools):
    file = io.BytesIO()
    with tools.replies() as replies:
        assert write_parquet(replies, file) == 3
    table = pq.read_table(file)
    assert table["reply_text"].to_pylist() == ["a", "b", "c"]
    assert table["answered_at"][0].as_py() == MOMENT
    file = io.BytesIO()
    with tools.replies() as replies:
        assert write_json_lines(replies, file) == 3


@pytest.mark.parametrize(
    ("choice", "runs", "unanswered"),
    [
        (Choice(superseded=True), {"run-1": 1}, 0),
        (Choice(runs=("run-1",)), {"run-1": 2}, 1),
        (Choice(before=MOMENT + timedelta(days=1)), {"run-1": 2}, 1),
        (Choice(before=MOMENT, runs=("run-2",)), {}, 0),
    ],
)
def test_pruning_deletes_what_meets_all_conditions(tools, choice, runs, unanswered):
    found = tools.preview(choice)
    assert (found.runs, found.unanswered) == (runs, unanswered)
    assert tools.inspect().replies == 3
    assert tools.prune(choice) == found
    assert tools.inspect().replies == 3 - found.replies
    assert tools.vacuum() is None


def test_a_database_without_a_ledger_is_told_from_one_with_it(database):
    tools = DatabaseTools(database)
    assert tools.probe() == "answers; a run makes the ledger in it"
    with pytest.raises(OutputError, match="no ledger here yet"):
        tools.inspect()


def test_room_that_cannot_be_given_back_is_no_failure():
    tools = DatabaseTools(Database(f"postgresql://tester@127.0.0.1:{free_port()}/db"))
    assert "refused" in str(tools.vacuum())
