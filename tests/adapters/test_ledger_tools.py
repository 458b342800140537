"""Looking into a ledger: inspection, verification, export, pruning."""

import asyncio
import io
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from tests.adapters.ledgers import MOMENT, fill, key, killed, leaves, overwrite, plainly, row, rows
from tests.fakes import completion
from vision_pipeline.adapters.ledger import export, pruning
from vision_pipeline.adapters.ledger.export import SCHEMA, write_json_lines, write_parquet
from vision_pipeline.adapters.ledger.inspection import NO_MODEL, RunInLedger, inspect
from vision_pipeline.adapters.ledger.opening import connect
from vision_pipeline.adapters.ledger.pruning import Choice, preview, prune, vacuum
from vision_pipeline.adapters.ledger.schema import SCHEMA_VERSION
from vision_pipeline.adapters.ledger.tools import FileTools
from vision_pipeline.adapters.ledger.verification import Fault, verify
from vision_pipeline.adapters.ledger.writer import SqliteLedger
from vision_pipeline.core.errors import OutputError

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def exported(write, path, file):
    with FileTools(path).replies() as replies:
        return write(replies, file)


# --- inspection


def test_an_inspection_counts_replies_questions_runs_and_models(path):
    later = MOMENT + timedelta(hours=1)
    other = completion("b", model="other")
    fill(path, [row("a"), row("b", moment=later, body=other), row("a", run_id="run-2")])
    found = inspect(path)
    assert (found.replies, found.questions, found.asked_again) == (3, 2, 1)
    assert found.models == {"m": 2, "other": 1}
    moments = (MOMENT.isoformat(), later.isoformat())
    assert found.runs[0] == RunInLedger("run-1", 2, 1.0, *moments)
    assert [run.run_id for run in found.runs] == ["run-1", "run-2"]
    assert (found.cost_usd, found.format_version, found.log_bytes) == (1.5, SCHEMA_VERSION, 0)
    assert found.file_bytes == path.stat().st_size


def test_payments_are_those_of_the_runs_asked_for_and_leave_out_what_is_none(path):
    fill(path, [row("a"), row("b", run_id="run-2"), row("c", cost_usd=None)])
    with closing(connect(path)) as connection:
        connection.execute("UPDATE replies SET cost_usd = 'much' WHERE number = 1")
    found = FileTools(path).payments(["run-1"])
    assert [(each.key, each.cost_usd) for each in found] == [(row("c")[1], None)]
    assert FileTools(path).payments([]) == []


def test_replies_without_a_price_have_no_cost(path):
    fill(path, [row("a", cost_usd=None)])
    found = inspect(path)
    assert (found.cost_usd, found.runs[0].cost_usd) == (None, None)


@pytest.mark.parametrize("body", [b"no completion", b'{"choices":[{"message":{}}]}', "text"])
def test_a_body_without_a_model_is_of_an_unknown_one(path, body):
    fill(path, [row("a", body=body)])
    assert inspect(path).models == {NO_MODEL: 1}


def test_a_ledger_without_replies_is_inspected(path):
    fill(path, [])
    assert (inspect(path).replies, inspect(path).runs) == (0, [])


def test_replies_in_the_log_are_counted_and_its_size_is_told(path):
    killed(path, rows(10))
    assert inspect(path).replies == 10
    assert inspect(path).log_bytes > 0


def test_a_ledger_is_inspected_while_a_run_writes_to_it(path):
    with closing(connect(path)) as writing:
        fill(path, rows(10))
        writing.execute("BEGIN IMMEDIATE")
        assert inspect(path).replies == 10
        writing.execute("ROLLBACK")


# --- verification


def test_a_sound_ledger_has_no_findings(path):
    fill(path, rows(50))
    found = verify(path, now=NOW)
    assert (found.replies, found.findings) == (50, [])


FAULTY = [
    ({"body": b"half a compl"}, Fault.UNREADABLE_BODY),
    ({"body": "text"}, Fault.NO_REPLY),
    ({"key": b"short"}, Fault.NO_REPLY),
    ({"answered_at": "soon"}, Fault.NO_REPLY),
    ({"mode": "slow"}, Fault.NO_REPLY),
    ({"tokens": -1}, Fault.NO_REPLY),
    ({"cost_usd": -1.0}, Fault.COST),
    ({"cost_usd": 1e9}, Fault.COST),
    ({"moment": NOW + timedelta(days=2)}, Fault.TIME),
    ({"moment": MOMENT.replace(year=1999)}, Fault.TIME),
    ({"moment": MOMENT.replace(tzinfo=None)}, Fault.TIME),
    ({"paid_by": "run-2/a.png"}, Fault.PAYER),
]


@pytest.mark.parametrize(("change", "fault"), FAULTY)
def test_what_is_wrong_with_a_reply_is_told_with_what_to_do(path, change, fault):
    fill(path, [row("a"), row("b", **change), row("c", **change)])
    [finding] = verify(path, now=NOW).findings
    assert (finding.fault, finding.rows) == (fault, 2)
    assert finding.example == "reply 2 of run 'run-1'"
    assert finding.fault.advice


def test_a_copy_that_costs_nothing_may_name_another_run_as_its_payer(path):
    fill(path, [row("a"), row("b", paid_by="run-0/a.png", cost_usd=0.0)])
    assert verify(path, now=NOW).findings == []


def test_pages_that_cannot_be_read_are_a_finding(path):
    fill(path, rows(200))
    overwrite(path, leaves(path)[3:5])
    [finding, *_] = verify(path, now=NOW).findings
    assert finding.fault is Fault.DAMAGED_FILE
    assert "salvage" in finding.fault.advice


def test_an_index_that_lacks_a_reply_is_a_finding(path):
    fill(path, rows(20))
    with plainly(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, '(run_id)', '(paid_by)')")
    assert Fault.DAMAGED_FILE in {each.fault for each in verify(path, now=NOW).findings}


def test_text_that_is_none_does_not_end_the_verification(path):
    fill(path, rows(3))
    with plainly(path) as connection:
        connection.execute("UPDATE replies SET paid_by = CAST(x'ff' AS TEXT) WHERE number = 2")
    found = verify(path, now=NOW)
    assert found.replies == 3
    assert [each.fault for each in found.findings] == [Fault.PAYER]


# --- export


def parquet(path):
    file = io.BytesIO()
    count = exported(write_parquet, path, file)
    return count, pq.read_table(file)


def test_an_exported_table_has_typed_columns_and_the_body_byte_for_byte(path):
    fill(path, [row("a", body=b"\xff no completion", cost_usd=None), row("b")])
    count, table = parquet(path)
    first, second = table.to_pylist()
    assert count == 2
    assert table.schema.equals(SCHEMA)
    assert first["body"] == b"\xff no completion"
    assert (first["model"], first["reply_text"], first["cost_usd"]) == (None, None, None)
    assert second == {
        "number": 2,
        "idempotency_key": key("b"),
        "run_id": "run-1",
        "paid_by": "run-1/b.png",
        "model": "m",
        "reply_text": "answer b",
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "cached_tokens": 0,
        "cost_usd": 0.5,
        "mode": "realtime",
        "attempts": 1,
        "queued_s": 0.25,
        "latency_s": 1.5,
        "answered_at": MOMENT,
        "body": completion("answer b"),
    }


@pytest.mark.parametrize(("limit", "most"), [("MAX_GROUP_ROWS", 7), ("MAX_GROUP_BYTES", 20_000)])
def test_an_export_is_written_group_by_group(path, monkeypatch, limit, most):
    monkeypatch.setattr(export, limit, most)
    fill(path, rows(50))
    file = io.BytesIO()
    exported(write_parquet, path, file)
    assert pq.ParquetFile(file).num_row_groups > 4
    assert pq.read_table(file)["number"].to_pylist() == list(range(1, 51))


def test_an_export_as_json_lines_is_a_reply_a_line(path):
    fill(path, [row("a"), row("b", body=b"\xff")])
    file = io.BytesIO()
    assert exported(write_json_lines, path, file) == 2
    first, second = map(json.loads, file.getvalue().splitlines())
    assert json.loads(first["body"])["model"] == "m"
    assert (first["idempotency_key"], first["answered_at"]) == (
        key("a"),
        "2026-11-22T10:15:00.123456Z",
    )
    assert second["body"] == "\\xff"


def test_an_empty_ledger_is_exported_as_an_empty_table(path):
    fill(path, [])
    assert parquet(path)[1].schema.equals(SCHEMA)


def test_an_export_does_not_pass_over_what_is_no_reply(path):
    fill(path, [row("a"), row("b", body="text")])
    with pytest.raises(OutputError, match="vision-pipeline ledger salvage"):
        parquet(path)


# --- pruning


@pytest.fixture
def asked_again(path):
    """Two questions of an old run; the newer run asked one of them again, and a third one."""
    week = MOMENT + timedelta(days=7)
    old = [row("a", run_id="old"), row("b", run_id="old", cost_usd=None)]
    new = [row("a", run_id="new", moment=week), row("c", run_id="new", moment=week)]
    fill(path, [*old, *new])
    return path


CHOICES = [
    (Choice(superseded=True), {"old": 1}, 0),
    (Choice(runs=("old",)), {"old": 2}, 1),
    (Choice(runs=("old", "new")), {"new": 2, "old": 2}, 3),
    (Choice(before=MOMENT), {}, 0),
    (Choice(before=MOMENT + timedelta(days=1)), {"old": 2}, 1),
    (Choice(before=MOMENT + timedelta(days=8), runs=("new",)), {"new": 2}, 1),
    (Choice(runs=("new",), superseded=True), {}, 0),
    (Choice(runs=("of nobody",)), {}, 0),
]


@pytest.mark.parametrize(("choice", "runs", "unanswered"), CHOICES)
def test_a_preview_tells_what_goes_and_deletes_nothing(asked_again, choice, runs, unanswered):
    found = preview(asked_again, choice)
    assert (found.runs, found.unanswered) == (runs, unanswered)
    assert inspect(asked_again).replies == 4


@pytest.mark.parametrize(("choice", "runs", "unanswered"), CHOICES)
def test_pruning_deletes_what_the_preview_told(asked_again, choice, runs, unanswered):
    before = preview(asked_again, choice)
    assert prune(asked_again, choice) == before
    assert inspect(asked_again).replies == 4 - before.replies
    assert inspect(asked_again).questions == 3 - unanswered


def test_pruning_what_is_superseded_changes_no_answer(asked_again):
    prune(asked_again, Choice(superseded=True))
    with closing(SqliteLedger(asked_again)) as ledger:
        assert asyncio.run(ledger.recall(key("a"))).paid_by == "new/a.png"


def test_moments_are_compared_whatever_their_offset(path):
    later = MOMENT + timedelta(hours=1)
    fill(path, [row("a", answered_at="2026-11-22T15:45:00+05:30"), row("b", moment=later)])
    assert preview(path, Choice(before=MOMENT + timedelta(minutes=1))).replies == 1


def test_what_was_pruned_is_not_in_the_file_any_more(path):
    fill(path, [row("a", body=completion("a secret of somebody")), row("b")])
    prune(path, Choice(runs=("run-1",)))
    assert b"a secret of somebody" not in path.read_bytes()


def test_the_disk_gets_its_room_back(path):
    fill(path, rows(200))
    before = pruning.disk_bytes(path)
    prune(path, Choice(runs=("run-1",)))
    assert vacuum(path) is None
    assert pruning.disk_bytes(path) < 0.7 * before
    assert verify(path, now=NOW).findings == []


def test_a_file_that_somebody_writes_to_is_not_shrunk_and_says_so(path, monkeypatch):
    monkeypatch.setattr(pruning, "_VACUUM_TIMEOUT_S", 0.01)
    fill(path, rows(10))
    with closing(connect(path)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        assert "locked" in vacuum(path)
        writing.execute("ROLLBACK")


def test_pruning_a_damaged_ledger_is_refused_and_deletes_nothing(path):
    fill(path, rows(200))
    overwrite(path, leaves(path)[3:5])
    before = path.read_bytes()
    with pytest.raises(OutputError, match="vision-pipeline ledger salvage"):
        prune(path, Choice(runs=("run-1",)))
    assert path.read_bytes() == before
