"""An output folder in a notebook."""

import sys
import uuid

import pytest

from tests.results.reports import HOSTILE, receipts
from tests.results.runs import FIRST, SECOND, Outputs
from vision_pipeline.core.columns import Scalar
from vision_pipeline.core.errors import OutputError
from vision_pipeline.results import open_results

CAPTION = (("caption", Scalar.STRING),)
PAID = {"prompt_tokens": 100, "completion_tokens": 10, "cost_usd": 0.25}


@pytest.fixture(params=["disk", "memory"])
def outputs(request, tmp_path):
    remote = f"memory://{uuid.uuid4().hex}/out"
    return Outputs({"disk": str(tmp_path / "out"), "memory": remote}[request.param])


@pytest.fixture
def two_runs(outputs):
    """a, b and c; then b anew with a number, and c as an error."""
    outputs.run(FIRST, {name: {"caption": name} for name in "abc"}, columns=CAPTION, **PAID)
    columns = (*CAPTION, ("total", Scalar.NUMBER))
    answers = {"b": {"caption": "B", "total": 2.5}, "c": "timeout"}
    outputs.run(SECOND, answers, columns=columns, finished=True, **PAID)
    return open_results(outputs.root)


def test_it_is_a_contact_sheet_of_a_few_items_and_tells_of_the_rest(tmp_path):
    results = open_results(receipts(tmp_path))
    sheet = results._repr_html_()
    assert "<b>31 items</b>: 26 answered, 5 errors" in sheet
    assert (sheet.count("<img "), sheet.count("timeout")) == (11, 1)
    assert "the file is not there any more" in sheet
    assert "… and 19 more" in sheet
    assert repr(results).endswith("31 items")


def test_foreign_text_is_escaped(tmp_path):
    sheet = open_results(receipts(tmp_path, 6))._repr_html_()
    assert "<script" not in sheet
    assert "onerror=&quot;" in sheet
    assert "\u202e" not in sheet
    assert HOSTILE not in sheet


def test_a_long_text_is_cut(outputs):
    outputs.run(FIRST, {"a": {"caption": "x" * 500}}, columns=CAPTION)
    sheet = open_results(outputs.root)._repr_html_()
    assert "x" * 160 + "…" in sheet
    assert "x" * 161 not in sheet


def test_rows_errors_and_cost_are_frames(two_runs, outputs):
    assert len(two_runs) == 3
    assert list(two_runs.load(columns=["caption"], where={"item_id": "b"})["caption"]) == ["B"]
    errors = two_runs.errors()
    assert list(errors["item_id"]) == ["c"]
    assert list(errors["error_code"]) == ["timeout"]
    cost = two_runs.cost()
    assert list(cost["run_id"]) == [FIRST, SECOND]
    assert list(cost["cost_usd"]) == [0.75, 0.5]
    first = open_results(outputs.root, run_id=FIRST)
    assert (len(first), len(first.errors()), list(first.cost()["calls"])) == (3, 0, [3])
    assert f"run_id={FIRST!r}" in repr(first)


def test_the_dataset_has_the_latest_rows_or_those_of_a_run(two_runs, outputs):
    def rows(results):
        table = results.dataset.to_table(columns=["item_id", "run_id", "total"])
        return sorted((row["item_id"], row["run_id"], row["total"]) for row in table.to_pylist())

    assert rows(two_runs) == [("a", FIRST, None), ("b", SECOND, 2.5), ("c", SECOND, None)]
    second = open_results(outputs.root, run_id=SECOND)
    assert rows(second) == [("b", SECOND, 2.5), ("c", SECOND, None)]


def test_runs_whose_types_do_not_fit_are_no_dataset(outputs):
    outputs.run(FIRST, {"a": {"total": "one"}}, columns=[("total", Scalar.STRING)])
    outputs.run(SECOND, {"b": {"total": 0.5}}, columns=[("total", Scalar.NUMBER)])
    with pytest.raises(OutputError, match="do not fit together"):
        _ = open_results(outputs.root).dataset
    assert open_results(outputs.root, run_id=SECOND).dataset.count_rows() == 1


def test_an_output_without_a_finished_shard_has_no_dataset(outputs):
    outputs.cut_off(FIRST)
    with pytest.raises(OutputError, match="no finished shard"):
        _ = open_results(outputs.root).dataset


def test_duckdb_asks_the_latest_rows(two_runs):
    pytest.importorskip("duckdb")
    asked = two_runs.to_duckdb().sql("SELECT status, count(*) FROM results GROUP BY 1 ORDER BY 1")
    assert asked.fetchall() == [("error", 1), ("ok", 2)]


def test_without_duckdb_it_is_told_what_brings_it(two_runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(OutputError, match=r"\[notebook\]"):
        two_runs.to_duckdb()


def test_an_item_has_a_thumbnail_or_is_refused(tmp_path):
    results = open_results(receipts(tmp_path, 3))
    assert results.thumbnail("0000.png").data.startswith(b"\xff\xd8")
    assert "not there" in results.thumbnail("0002.png").why
    with pytest.raises(OutputError, match="no item 'nope'"):
        results.thumbnail("nope")


def test_an_unknown_run_is_refused_at_once(two_runs, outputs):
    with pytest.raises(OutputError, match="no run 'nope'"):
        open_results(outputs.root, run_id="nope")
