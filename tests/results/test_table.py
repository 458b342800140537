"""Loading result tables that the store wrote."""

import uuid
from datetime import UTC, date, datetime

import pandas as pd
import pyarrow as pa
import pytest

from tests.results.runs import FIRST, SECOND, Outputs
from vision_pipeline import results
from vision_pipeline.core.columns import ListOf, Scalar, StructOf
from vision_pipeline.core.errors import OutputError
from vision_pipeline.results.table import open_folder, read_rows

TOTAL = (("total", Scalar.NUMBER), ("kind", Scalar.CHOICE))
CAPTION = (("caption", Scalar.STRING),)


@pytest.fixture(params=["disk", "memory"])
def outputs(request, tmp_path):
    remote = f"memory://{uuid.uuid4().hex}/out"
    return Outputs({"disk": str(tmp_path / "out"), "memory": remote}[request.param])


@pytest.fixture
def local(tmp_path):
    return Outputs(str(tmp_path / "out"))


@pytest.fixture
def two_prompts(outputs):
    """Totals of a, b and c; then captions of b and d, and an error of c."""
    answers = {name: {"total": n + 0.5, "kind": "Food"} for n, name in enumerate("abc")}
    outputs.run(FIRST, answers, columns=TOTAL)
    captions = {"b": {"caption": "a cat"}, "c": "timeout", "d": {"caption": "a dog"}}
    outputs.run(SECOND, captions, columns=CAPTION, prompt="describe")
    return outputs.root


def test_the_latest_row_of_each_item_is_loaded(two_prompts):
    frame = results.load(two_prompts).set_index("item_id")
    assert dict(frame["run_id"]) == {"a": FIRST, "b": SECOND, "c": SECOND, "d": SECOND}
    assert dict(frame["status"]) == {"a": "ok", "b": "ok", "c": "error", "d": "ok"}


def test_all_rows_are_loaded_in_the_order_of_their_runs(two_prompts):
    frame = results.load(two_prompts, runs="all")
    assert list(frame["item_id"]) == ["a", "b", "c", "b", "c", "d"]
    assert list(frame["run_id"]) == [FIRST] * 3 + [SECOND] * 3


def test_one_run_is_loaded_with_its_own_columns(two_prompts):
    frame = results.load(two_prompts, runs=FIRST)
    assert list(frame["item_id"]) == ["a", "b", "c"]
    assert list(frame["total"]) == [0.5, 1.5, 2.5]
    assert "caption" not in frame


def test_what_a_run_has_no_column_for_is_null_in_its_rows(two_prompts):
    frame = results.load(two_prompts, runs="all", columns=["total", "caption"])
    assert list(frame.columns) == ["item_id", "total", "caption"]
    assert list(frame["total"].isna()) == [False] * 3 + [True] * 3
    assert list(frame["caption"].isna()) == [True] * 3 + [False, True, False]


def test_only_some_columns_are_loaded_and_the_id_once(two_prompts):
    assert list(results.load(two_prompts, columns=["status", "item_id"])) == ["item_id", "status"]
    assert list(results.load(two_prompts, columns=[])) == ["item_id"]


def test_types_are_those_of_arrow(local):
    line = ListOf(StructOf((("name", Scalar.STRING), ("price", Scalar.NUMBER))))
    columns = [("on", Scalar.DATE), ("at", Scalar.TIMESTAMP), ("n", Scalar.INTEGER)]
    columns += [("kind", Scalar.CHOICE), ("lines", line)]
    at = datetime(2026, 1, 2, 3, tzinfo=UTC)
    answer = {"on": date(2026, 1, 2), "at": at, "n": None, "kind": "Food", "lines": []}
    local.run(FIRST, {"a": answer}, columns=columns)
    frame = results.load(local.root)
    wanted = {
        "on": pa.date32(),
        "at": pa.timestamp("us", tz="UTC"),
        "n": pa.int64(),
        "kind": pa.string(),
        "lines": pa.list_(pa.struct([("name", pa.string()), ("price", pa.float64())])),
        "run_id": pa.string(),
    }
    assert {name: frame[name].dtype for name in wanted} == {
        name: pd.ArrowDtype(kind) for name, kind in wanted.items()
    }
    assert (frame["on"][0], frame["kind"][0]) == (date(2026, 1, 2), "Food")


def test_runs_with_other_labels_fit_together(local):
    for run_id, kind in ((FIRST, "Food"), (SECOND, "Travel")):
        local.run(run_id, {"a": {"total": 1.0, "kind": kind}}, columns=TOTAL)
    assert list(results.load(local.root, runs="all")["kind"]) == ["Food", "Travel"]


def test_shards_are_loaded_in_their_order(outputs):
    outputs.shard_size = 2
    outputs.run(FIRST, {name: {"caption": name} for name in "abcde"}, columns=CAPTION)
    assert list(results.load(outputs.root)["item_id"]) == list("abcde")


def test_a_table_that_grows_is_seen(outputs):
    outputs.run(FIRST, {"a": {"caption": "x"}}, columns=CAPTION)
    assert len(results.load(outputs.root)) == 1
    outputs.run(SECOND, {"b": {"caption": "x"}}, columns=CAPTION)
    assert len(results.load(outputs.root)) == 2


def test_numbers_of_two_kinds_become_the_wider_one(local):
    local.run(FIRST, {"a": {"total": 1}}, columns=[("total", Scalar.INTEGER)])
    local.run(SECOND, {"b": {"total": 0.5}}, columns=[("total", Scalar.NUMBER)])
    assert list(results.load(local.root)["total"]) == [1.0, 0.5]


def test_runs_whose_types_do_not_fit_are_named_and_can_be_loaded_alone(local):
    local.run(FIRST, {"a": {"total": "one"}}, columns=[("total", Scalar.STRING)])
    local.run(SECOND, {"b": {"total": 0.5}}, columns=[("total", Scalar.NUMBER)])
    with pytest.raises(OutputError, match=r"do not fit together: .*total"):
        results.load(local.root)
    assert list(results.load(local.root, runs=SECOND)["total"]) == [0.5]
    assert list(results.load(local.root, columns=["status"])["status"]) == ["ok", "ok"]


def test_a_run_that_was_cut_off_in_its_first_shard_is_passed_over(local):
    local.run(FIRST, {"a": {"caption": "x"}}, columns=CAPTION)
    local.cut_off(SECOND)
    assert list(results.load(local.root)["run_id"]) == [FIRST]


def test_an_output_with_nothing_but_drafts_is_no_table_yet(local):
    local.cut_off(FIRST)
    with pytest.raises(OutputError, match="no finished shard yet"):
        results.load(local.root)


def test_an_unknown_run_is_refused_with_those_that_are_there(two_prompts):
    with pytest.raises(OutputError, match=f"no run 'r9' here; there are: {FIRST}, {SECOND}"):
        results.load(two_prompts, runs="r9")


@pytest.mark.parametrize("path", ["", "/nowhere/at/all", "memory://nowhere/at/all"])
def test_a_folder_without_a_table_is_refused(tmp_path, path):
    with pytest.raises(OutputError, match=r"is it the output\.path of a run"):
        results.load(path or str(tmp_path))


def test_a_protocol_that_is_not_known_is_refused():
    with pytest.raises(OutputError, match="nosuch://a/b: "):
        results.load("nosuch://a/b")


def test_a_damaged_shard_is_named(local, tmp_path):
    local.run(FIRST, {"a": {"caption": "x"}}, columns=CAPTION)
    shard = tmp_path / "out" / "results" / f"run_id={FIRST}" / "shard-00000.parquet"
    shard.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(OutputError, match=f"run_id={FIRST}.* cannot be read"):
        results.load(local.root)


def test_rows_are_read_as_an_arrow_table_too(two_prompts):
    rows = read_rows(open_folder(two_prompts), columns=["item_id", "total"], run_id=FIRST)
    assert rows.to_pydict() == {"item_id": ["a", "b", "c"], "total": [0.5, 1.5, 2.5]}


def test_a_column_that_no_run_has_is_refused_with_the_nearest_one(two_prompts):
    with pytest.raises(OutputError, match="did you mean `cost_usd`"):
        results.load(two_prompts, columns=["cost_us"])


def test_a_column_that_changed_its_type_does_not_matter_once_all_is_asked_anew(local):
    local.run(FIRST, {"a": {"total": 1.5}}, columns=(("total", Scalar.NUMBER),))
    local.run(SECOND, {"a": {"total": "1,50"}}, columns=(("total", Scalar.STRING),))
    assert list(results.load(local.root)["total"]) == ["1,50"]
