"""Answers against a truth."""

from datetime import date

import pandas as pd
import pytest

from tests.results.evaluation.tables import (
    COLUMNS,
    TART,
    TEA,
    answer,
    write_lines,
    write_two_runs,
)
from tests.results.runs import FIRST, SECOND, Outputs
from vision_pipeline.core.columns import Scalar
from vision_pipeline.core.errors import ConfigError, OutputError
from vision_pipeline.results import evaluate

TRUE = answer()


@pytest.fixture
def outputs(tmp_path):
    return Outputs(str(tmp_path / "out"))


@pytest.fixture
def output(outputs):
    return write_two_runs(outputs)


@pytest.fixture
def truth(tmp_path):
    """The answers of all four, and of one that is not there."""
    rows = [{"image": f"{name}.jpg", "truth": TRUE} for name in "abcdz"]
    return write_lines(tmp_path / "truth.jsonl", rows)


def test_fields_are_compared_by_their_types(output, truth):
    found = evaluate(output, truth)
    assert {each.field: each.compared_as for each in found.fields} == {
        "vendor": "text",
        "day": "date",
        "total": "number",
        "paid_by": "enum",
        "is_food": "boolean",
        "labels": "list",
        "place.city": "text",
        "place.zip": "text",
        "lines": "list",
        "lines[].name": "list",
        "lines[].price": "list",
    }


def test_errors_are_wrong_in_every_field(output, truth):
    found = evaluate(output, truth)
    right = {each.field: each.right for each in found.fields}
    assert (found.rows, found.errors, found.right) == (4, 1, 1)
    assert (right["total"], right["vendor"], right["paid_by"], right["day"]) == (2, 2, 2, 3)
    assert found["day"].errors == 1
    assert found["labels"].recall == 6 / 8
    assert found["labels"].precision == 1
    assert found.coverage.likely == 0.75


def test_a_run_is_judged_by_itself(output, truth):
    found = evaluate(output, truth, run="previous")
    assert (found.label, found.errors, found.right) == (FIRST, 1, 3)
    assert evaluate(output, truth, run="aaaa").label == FIRST
    assert evaluate(output, truth, run=SECOND[:8]).label == SECOND


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("2026", "'2026' may be any of several runs; .*has: .*aaaa, .*bbbb; also: latest"),
        ("zz", "'zz' is no run"),
        ("", "'' is no run"),
    ],
)
def test_a_run_that_is_not_one_is_refused(output, truth, run, told):
    with pytest.raises(ConfigError, match=told):
        evaluate(output, truth, run=run)


def test_there_may_be_no_previous_run(outputs, truth):
    outputs.run(FIRST, {"a.jpg": answer()}, columns=COLUMNS)
    with pytest.raises(ConfigError, match="no previous run"):
        evaluate(outputs.root, truth, run="previous")


def test_cost_is_told_for_each_right_answer(output, truth):
    found = evaluate(output, truth)
    assert found.cost_usd == pytest.approx(0.08)
    assert found.cost_per_right_usd == pytest.approx(0.08)
    assert found["total"].cost_per_right_usd == pytest.approx(0.04)


def test_an_unknown_price_makes_no_cost(outputs, truth):
    outputs.run(FIRST, {"a.jpg": answer()}, columns=COLUMNS)
    found = evaluate(outputs.root, truth)
    assert (found.cost_usd, found.cost_per_right_usd) == (None, None)


def test_classes_are_counted_by_the_true_one(output, truth):
    found = evaluate(output, truth)
    assert found["paid_by"].confusion == {
        ("card", "card"): 2,
        ("card", "cash"): 1,
        ("card", "(error)"): 1,
    }
    assert found["paid_by"].to_dict()["confusion"][0] == {
        "truth": "card",
        "answer": "card",
        "rows": 2,
    }
    assert found["vendor"].confusion == {}


def test_nothing_is_a_class_too(outputs, tmp_path):
    columns = [("kind", Scalar.CHOICE)]
    outputs.run(FIRST, {"a": {"kind": None}, "b": {"kind": "Food"}}, columns=columns)
    truth = write_lines(
        tmp_path / "t.jsonl", [{"item_id": "a", "kind": "food"}, {"item_id": "b", "kind": None}]
    )
    assert evaluate(outputs.root, truth)["kind"].confusion == {
        ("Food", "(nothing)"): 1,
        ("(nothing)", "Food"): 1,
    }


def test_wrong_answers_are_shown_the_worst_first_and_errors_last(output, truth):
    found = evaluate(output, truth, worst=2)
    assert [(one.item_id, one.answer, one.error_code) for one in found["vendor"].worst] == [
        ("b.jpg", "Tannbeck", None),
        ("c.jpg", None, "invalid_answer"),
    ]
    assert evaluate(output, truth, worst=0)["vendor"].worst == []


def test_how_a_field_is_compared_can_be_chosen(output, tmp_path):
    rows = [{"item_id": "d.jpg", "total": "EUR 30,40", "labels": "lunch; lunch; CAFE"}]
    truth = write_lines(tmp_path / "truth.jsonl", rows)
    found = evaluate(output, truth, compare={"total": "money", "labels": "set"})
    assert found.right == 1
    assert found["labels"].compared_as == "set"
    exact = evaluate(output, truth, compare={"total": "exact", "labels": "exact"})
    assert (exact["total"].right, exact["labels"].right) == (0, 0)


def test_a_column_of_the_truth_may_have_another_name(output, tmp_path):
    truth = write_lines(
        tmp_path / "t.jsonl", [{"item_id": "d.jpg", "sum": 30.4, "x": {"y": [TEA]}}]
    )
    found = evaluate(output, truth, renamed={"total": "sum", "lines": "x.y"})
    assert found["total"].right == 1
    assert (found["lines"].recall, found["lines"].precision) == (1, 0.5)
    assert found["lines[].name"].truth_column == "x.y"


def test_of_two_objects_with_a_field_one_has_to_be_chosen(output, tmp_path):
    rows = [{"item_id": "d.jpg", "p": {"total": 30.4}, "q": {"total": 1}}]
    truth = write_lines(tmp_path / "t.jsonl", rows)
    with pytest.raises(ConfigError, match=r"may be p\.total or q\.total; .*--map p\.total=total"):
        evaluate(output, truth)
    assert evaluate(output, truth, renamed={"total": "p.total"})["total"].right == 1


def test_what_a_row_does_not_tell_is_not_judged(output, tmp_path):
    line = {"name": "Tea"}
    rows = [
        {"item_id": "a.jpg", "total": 31},
        {"item_id": "d.jpg", "day": "6/11/2026", "lines": [line, {"name": "plum tart"}]},
    ]
    found = evaluate(output, write_lines(tmp_path / "t.jsonl", rows))
    assert {each.field: each.rows for each in found.fields} == {
        "day": 1,
        "total": 1,
        "lines": 1,
        "lines[].name": 1,
    }
    assert found.right == 2


def test_a_blank_truth_says_that_nothing_is_right_unless_it_is_skipped(output, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("item_id,total,day\na.jpg,,2026-11-06\nd.jpg,30.4,\n")
    found = evaluate(output, str(file))
    assert (found["total"].rows, found["total"].right, found["day"].right) == (2, 1, 1)
    skipping = evaluate(output, str(file), skip_blank=True)
    assert (skipping["total"].rows, skipping["total"].right, skipping.right) == (1, 1, 2)


def test_an_error_is_wrong_even_where_nothing_is_right(output, tmp_path):
    truth = write_lines(tmp_path / "t.jsonl", [{"item_id": "c.jpg", "total": None, "labels": []}])
    found = evaluate(output, truth)
    assert [(each.right, each.mean_score) for each in found.fields] == [(0, 0), (0, 0)]


def test_a_truth_of_several_lines_is_compared_by_its_words(outputs, tmp_path):
    outputs.run(FIRST, {"a": {"answer": "one two four"}}, columns=[("answer", Scalar.STRING)])
    truth = write_lines(tmp_path / "t.jsonl", [{"item_id": "a", "answer": ["one", "two three"]}])
    found = evaluate(outputs.root, truth)["answer"]
    assert (found.compared_as, found.found, found.wanted) == ("words", 2, 3)


def test_truths_that_cannot_be_read_are_counted(output, tmp_path):
    truth = write_lines(tmp_path / "t.jsonl", [{"item_id": "a.jpg", "total": "about thirty"}])
    assert evaluate(output, truth)["total"].unreadable == 1


def test_minimums_name_what_is_below(output, truth):
    found = evaluate(output, truth)
    assert found.below({"day": 0.75, "labels.precision": 1}) == []
    assert found.below({"day": 0.8, "labels.recall": 0.8}) == [
        "day is 75.0%, less than 80.0%",
        "labels.recall is 75.0%, less than 80.0%",
    ]
    assert found.value("place.city") == found.value("place.city.accuracy") == 0.75
    with pytest.raises(ConfigError, match="did you mean `total`"):
        found.below({"totl": 0.5})
    with pytest.raises(ConfigError, match=r"total\.recall: total is one value"):
        found.below({"total.recall": 0.5})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"compare": {"totl": "money"}}, "--compare: the answers have no field 'totl'; .*`total`"),
        ({"renamed": {"totl": "image"}}, "--map: the answers have no field 'totl'"),
        ({"renamed": {"total": "imag"}}, "no column 'imag'; there are: .*did you mean `image`"),
        ({"compare": {"total": "mony"}}, "--compare total: 'mony' is no way to compare"),
    ],
)
def test_options_that_name_nothing_are_refused(output, truth, options, told):
    with pytest.raises(ConfigError, match=told):
        evaluate(output, truth, **options)


def test_a_truth_about_no_field_is_refused(output, tmp_path):
    truth = write_lines(tmp_path / "t.jsonl", [{"item_id": "a.jpg", "sum": 3}])
    with pytest.raises(ConfigError, match=r"none of its columns \(item_id, sum\) .* --map"):
        evaluate(output, truth)
    rows = [{"item_id": "a.jpg"}, {"item_id": "z.jpg", "total": 3}]
    with pytest.raises(ConfigError, match="its matched rows say nothing"):
        evaluate(output, write_lines(tmp_path / "t.jsonl", rows))


def test_an_output_behind_a_url_is_judged_too(tmp_path):
    outputs = Outputs("memory://judged/out")
    output = write_two_runs(outputs)
    truth = write_lines(tmp_path / "t.jsonl", [{"item_id": "d.jpg", "total": 30.4}])
    assert evaluate(output, truth).right == 1


def test_no_output_folder_is_refused(tmp_path, truth):
    with pytest.raises(OutputError, match="no results here"):
        evaluate(str(tmp_path), truth)


def test_tables_have_a_row_a_field_and_a_row_a_cell(output, truth):
    found = evaluate(output, truth)
    fields, cells = found.to_pandas(), found.cells()
    assert fields.loc["total", "right"] == 2
    assert len(cells) == 4 * len(fields)
    total = cells[cells["field"] == "total"].set_index("item_id")
    assert list(total["right"]) == [False, True, False, True]
    assert total.loc["a.jpg", ["truth", "answer"]].tolist() == [30.4, 31.0]
    assert found.to_dict()["only_in_truth"] == ["z.jpg"]


def test_an_output_without_manifests_is_judged_too(output, outputs, truth, tmp_path):
    for file in (tmp_path / "out" / "manifests").iterdir():
        file.unlink()
    assert evaluate(output, truth)["total"].right == 2


def test_a_damaged_shard_is_named(output, truth, tmp_path):
    shard = tmp_path / "out" / "manifests" / f"{SECOND}.parquet"
    shard.write_bytes(b"no Parquet")
    with pytest.raises(OutputError, match=f"{SECOND}.parquet: cannot be read"):
        evaluate(output, truth)


def test_answers_of_an_element_that_is_no_object_are_wrong(output, tmp_path):
    rows = [{"item_id": "d.jpg", "lines": ["Tea", TART], "place": {"city": "Port Ellery"}}]
    found = evaluate(output, write_lines(tmp_path / "t.jsonl", rows))
    assert found["lines"].found == 1
    assert found["place.city"].right == 1
    assert found["lines[].price"].right == 0


def test_a_csv_may_hold_objects_and_lists_as_json(output, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text(
        "item_id,place,lines,labels,vendor\n"
        'd.jpg,"{""city"": ""Port Ellery""}","[{""name"": ""Tea"", ""price"": 3.8}]","[cafe",{x\n'
        "a.jpg,,,cafe|lunch,{y\n"
    )
    found = evaluate(output, str(file), skip_blank=True)
    assert found["place.city"].right == 1
    assert found["lines"].found == 1
    assert found["labels"].right == 1
    assert found["vendor"].right == 0


def test_dates_of_parquet_stay_dates(output, tmp_path):
    file = tmp_path / "t.parquet"
    pd.DataFrame({"item_id": ["d.jpg"], "day": [date(2026, 11, 6)]}).to_parquet(file)
    assert evaluate(output, str(file))["day"].right == 1


def test_an_item_that_failed_before_any_call_cost_nothing(outputs, tmp_path):
    outputs.run(FIRST, {"a.jpg": answer()}, columns=COLUMNS, cost_usd=0.01)
    outputs.run(SECOND, {"b.jpg": "unreadable_image"}, columns=COLUMNS, cost_usd=None)
    truth = [{"image": f"{name}.jpg", "total": 30.4} for name in "ab"]
    evaluation = evaluate(outputs.root, write_lines(tmp_path / "t.jsonl", truth))
    assert evaluation.cost_usd == 0.01


def test_columns_of_a_truth_that_are_about_nothing_are_told(outputs, tmp_path):
    outputs.run(FIRST, {"a.jpg": answer()}, columns=COLUMNS)
    truth = [{"image": "a.jpg", "total": 30.4, "company": "x", "checked": "yes"}]
    evaluation = evaluate(outputs.root, write_lines(tmp_path / "t.jsonl", truth))
    assert evaluation.unused == ["company"]
