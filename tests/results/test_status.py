"""An output folder in numbers."""

from dataclasses import replace

import orjson
import pytest

from tests.results.runs import FIRST, SECOND, Outputs
from vision_pipeline.core.columns import Scalar
from vision_pipeline.core.errors import OutputError
from vision_pipeline.results.runs import RunStatus, read_runs
from vision_pipeline.results.status import read_status

CAPTION = (("caption", Scalar.STRING),)
CAT = {"caption": "a cat"}
PAID = {"prompt_tokens": 100, "completion_tokens": 10, "cost_usd": 0.25}


@pytest.fixture
def outputs(tmp_path):
    return Outputs(str(tmp_path / "out"))


@pytest.fixture
def status(outputs):
    """Two runs: b failed at first, c failed again, and a copy of a came from the ledger."""
    first = {"a": CAT, "b": "timeout", "c": "timeout"}
    outputs.run(FIRST, first, columns=CAPTION, finished=True, **PAID)
    second = {"b": CAT, "c": "invalid_answer"}
    outputs.run(SECOND, second, columns=CAPTION, prompt="describe", **PAID)
    outputs.run("r3", {"copy": CAT}, columns=CAPTION, from_ledger=True, finished=True, **PAID)
    return read_status(outputs.root)


def test_items_count_by_their_latest_row(status):
    assert (status.items, status.ok, status.errors) == (4, 3, {"invalid_answer": 1})
    assert status.failed == 1


def test_rows_tokens_and_cost_are_sums_over_all_runs_without_what_the_ledger_gave(status):
    assert (status.rows, status.cost_usd) == (6, 1.25)
    assert (status.prompt_tokens, status.completion_tokens) == (500, 50)


def test_each_run_has_its_own_numbers(status):
    shared = {"model": "mistral-small-2603", "begun_at": "2026-11-21T00:00:00Z"}
    finished = {"finished": True, "finished_at": "2026-11-22T00:00:00Z", "prompt": "caption v3"}
    counts = [
        {"items": 3, "rows": 3, "ok": 1, "errors": 2, "calls": 3, "cost_usd": 0.75} | finished,
        {"items": 2, "rows": 2, "ok": 1, "errors": 1, "calls": 2, "cost_usd": 0.5}
        | {"finished": False, "prompt": "describe v3"},
        {"items": 1, "rows": 1, "ok": 1, "errors": 0, "calls": 0, "cost_usd": None} | finished,
    ]
    wanted = zip((FIRST, SECOND, "r3"), counts, strict=True)
    assert status.runs == [RunStatus(run_id=run_id, **shared, **each) for run_id, each in wanted]


def test_a_run_is_shown_as_texts(status):
    assert status.runs[1].cells() == (SECOND, "2", "1", "1", "2", "0.5000", "cut off")
    assert status.runs[1].question == "describe v3, mistral-small-2603"
    assert status.runs[2].cells()[-2:] == ("", "finished")
    assert status.runs[1].times == "2026-11-21 00:00:00"
    assert replace(status.runs[0], finished_at="2026-11-21T00:09:00Z").times.endswith("to 00:09:00")
    assert status.runs[0].times == "2026-11-21 00:00:00 to 2026-11-22 00:00:00"


def test_numbers_become_json(status):
    document = orjson.loads(orjson.dumps(status.to_dict()))
    assert (document["items"], document["errors"]) == (4, {"invalid_answer": 1})
    assert document["runs"][0]["run_id"] == FIRST


def test_without_a_price_there_is_no_cost(outputs):
    outputs.run(FIRST, {"a": CAT}, columns=CAPTION)
    status = read_status(outputs.root)
    assert (status.cost_usd, status.prompt_tokens, status.runs[0].cost_usd) == (None, 0, None)


def test_errors_are_sorted_by_how_many_there_are(outputs):
    answers = {"a": "timeout", "b": "blocked_url", "c": "blocked_url"}
    outputs.run(FIRST, answers, columns=CAPTION)
    assert list(read_status(outputs.root).errors.items()) == [("blocked_url", 2), ("timeout", 1)]


def test_a_run_without_a_finished_shard_has_no_rows(outputs):
    outputs.run(FIRST, {"a": CAT}, columns=CAPTION)
    outputs.cut_off(SECOND)
    [_, cut_off] = read_status(outputs.root).runs
    assert (cut_off.run_id, cut_off.rows, cut_off.ok, cut_off.errors) == (SECOND, 0, 0, 0)
    assert not cut_off.finished


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"5", b"[]", b"{}", b'{"run_id": "r", "config": {"model": {"name": "m"}}}'],
)
def test_a_damaged_run_file_is_named(outputs, tmp_path, content):
    outputs.run(FIRST, {"a": CAT}, columns=CAPTION)
    (tmp_path / "out" / "runs" / f"{FIRST}.json").write_bytes(content)
    with pytest.raises(OutputError, match=rf"runs/{FIRST}\.json: damaged"):
        read_status(outputs.root)


def test_a_folder_without_a_table_is_refused(tmp_path):
    with pytest.raises(OutputError, match="no results here"):
        read_status(str(tmp_path))


def test_a_run_without_a_finished_shard_is_shown_as_cut_off(tmp_path):
    outputs = Outputs(str(tmp_path / "out"))
    outputs.cut_off(FIRST)
    status = read_status(outputs.root)
    assert (status.items, status.rows) == (0, 0)
    assert [(run.run_id, run.items, run.finished) for run in status.runs] == [(FIRST, 1, False)]


def test_the_runs_of_a_folder_are_listed_alone(outputs, status):
    assert read_runs(outputs.root) == status.runs


def test_a_repaired_answer_took_two_calls(outputs):
    outputs.run(FIRST, {"a": CAT, "b": CAT}, columns=CAPTION, repaired=True, **PAID)
    assert read_runs(outputs.root)[0].calls == 4


def test_an_error_before_any_reply_took_no_call(outputs):
    outputs.run(FIRST, {"a": "unreadable_image"}, columns=CAPTION)
    assert read_runs(outputs.root)[0].calls == 0


@pytest.mark.parametrize(
    ("codes", "told"), [(["timeout"], "retry of timeout"), (["a", "b", "c", "d"], "retry")]
)
def test_a_retry_says_what_it_was_about_where_that_is_short(outputs, tmp_path, codes, told):
    outputs.run(FIRST, {"a": CAT}, columns=CAPTION)
    path = tmp_path / "out" / "runs" / f"{FIRST}.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"retry": codes}))
    [run] = read_runs(outputs.root)
    assert run.question == f"caption v3, mistral-small-2603, {told}"


def test_a_reparse_is_told_as_one(outputs, tmp_path):
    outputs.run(FIRST, {"a": CAT}, columns=CAPTION)
    path = tmp_path / "out" / "runs" / f"{FIRST}.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"reparse": True}))
    [run] = read_runs(outputs.root)
    assert run.question == "caption v3, mistral-small-2603, reparse"
