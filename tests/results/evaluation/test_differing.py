"""Two runs beside each other."""

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
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.results import diff


@pytest.fixture
def outputs(tmp_path):
    return Outputs(str(tmp_path / "out"))


def cells(found):
    return {
        (one.item_id, each.field): (one.before, one.after)
        for each in found.fields
        for one in each.changed
    }


def test_exactly_the_planted_changes_between_two_prompts_are_found(outputs):
    items = [f"{number:03}.jpg" for number in range(200)]
    before = {name: answer(total=float(place)) for place, name in enumerate(items)}
    after = {name: dict(each) for name, each in before.items()}
    planted = {
        ("003.jpg", "total"): (3.0, 3.5),
        ("017.jpg", "vendor"): ("Tannbeck Cafe", "TANNBECK CAFE"),
        ("017.jpg", "paid_by"): ("card", None),
        ("099.jpg", "labels"): (["cafe", "lunch"], ["lunch", "cafe"]),
        ("150.jpg", "lines"): ([TEA, TART], [TEA]),
        ("199.jpg", "is_food"): (True, False),
    }
    for (item, field), (_, new) in planted.items():
        after[item][field] = new
    after["180.jpg"]["place"] = {"city": "Oddmoor", "zip": "0042"}
    before["042.jpg"], after["043.jpg"] = "timeout", "invalid_answer"
    before["044.jpg"], after["044.jpg"] = "timeout", "truncated_answer"
    outputs.run(FIRST, before, columns=COLUMNS, prompt="receipt")
    outputs.run(SECOND, after, columns=COLUMNS, prompt="receipt_better")
    found = diff(outputs.root, FIRST, SECOND)
    assert cells(found) == planted | {("180.jpg", "place.city"): ("Port Ellery", "Oddmoor")}
    assert (found.items, found.answered_in_both, found.changed) == (200, 197, 7)
    assert [each.item_id for each in found.errors_gained] == ["043.jpg"]
    assert [each.item_id for each in found.errors_lost] == ["042.jpg"]
    assert {each.item_id for each in found.errors} == {"042.jpg", "043.jpg", "044.jpg"}
    assert found["total"].agreement.likely == 196 / 197
    assert len(found.to_pandas()) == 10
    assert (found.before.asked, found.after.asked) == (
        "receipt v3, mistral-small-2603",
        "receipt_better v3, mistral-small-2603",
    )


def test_without_names_the_latest_run_stands_beside_the_one_before(outputs):
    found = diff(write_two_runs(outputs))
    assert (found.before.label, found.after.label) == (FIRST, SECOND)
    assert (found.before.cost_usd, found.after.cost_usd) == pytest.approx((0.04, 0.08))
    assert (found.before.median_latency_s, found.after.median_latency_s) == (1, 3)
    assert (found.before.errors, found.after.errors) == (1, 1)
    assert found.other_images == 0


def test_a_run_beside_itself_has_no_changes(outputs):
    found = diff(write_two_runs(outputs), "latest", "latest")
    assert (found.changed, found.errors) == (0, [])


def test_what_counts_as_the_same_can_be_chosen(outputs):
    output = write_two_runs(outputs)
    assert set(cells(diff(output, compare={"total": "number:5%"}))) == {
        ("b.jpg", "vendor"),
        ("b.jpg", "paid_by"),
    }
    with pytest.raises(ConfigError, match=r"no field 'totl' in common; .*`total`"):
        diff(output, compare={"totl": "number"})


def test_two_outputs_are_compared_by_their_latest_rows(outputs, tmp_path):
    other = Outputs(str(tmp_path / "other"))
    columns = [*COLUMNS[:3], ("tip", Scalar.NUMBER)]
    answers = {"a.jpg": answer() | {"tip": 1.0}, "z.jpg": answer() | {"tip": None}}
    other.run(FIRST, answers, columns=columns, image_sha256="y")
    found = diff(write_two_runs(outputs), other=other.root)
    assert (found.items, cells(found)) == (1, {("a.jpg", "total"): (31.0, 30.4)})
    assert (found.only_after, found.after.output) == (["tip"], other.root)
    assert found.only_before == ["is_food", "labels", "lines", "paid_by", "place"]
    assert (found.after.cost_usd, found.after.median_latency_s) == (None, None)


def test_another_image_of_the_same_name_is_told(outputs):
    for run_id, digest in ((FIRST, "x"), (SECOND, "y")):
        outputs.run(run_id, {"a.jpg": answer()}, columns=COLUMNS, image_sha256=digest)
    assert diff(outputs.root).other_images == 1


def test_accuracy_is_compared_where_there_is_a_truth(outputs, tmp_path):
    rows = [{"item_id": f"{name}.jpg", "total": 30.4, "labels": ["cafe"]} for name in "abcd"]
    truth = write_lines(tmp_path / "t.jsonl", rows)
    total, labels = diff(write_two_runs(outputs), truth=truth).gains
    assert (total.field, total.right_before, total.right_after) == ("total", 3, 2)
    assert (total.gained, total.lost, total.gain.likely) == (1, 2, -0.25)
    assert total.gain.low < -0.25 < 0 < total.gain.high
    assert total.chance == 1
    assert (labels.right_before, labels.right_after) == (0, 0)


def test_a_field_that_only_one_run_has_gains_nothing(outputs, tmp_path):
    outputs.run(FIRST, {"a.jpg": answer()}, columns=COLUMNS[:3])
    outputs.run(SECOND, {"a.jpg": answer()}, columns=COLUMNS[2:])
    truth = write_lines(tmp_path / "t.jsonl", [{"item_id": "a.jpg", **answer()}])
    assert [each.field for each in diff(outputs.root, truth=truth).gains] == ["total"]


def test_runs_without_a_common_item_or_field_are_refused(outputs):
    outputs.run(FIRST, {"a.jpg": answer()}, columns=COLUMNS[:1])
    outputs.run(SECOND, {"b.jpg": answer()}, columns=COLUMNS[:1])
    with pytest.raises(ConfigError, match="no item in common"):
        diff(outputs.root)
    third = "20261103T000000Z-cccc"
    outputs.run(third, {"b.jpg": answer()}, columns=COLUMNS[1:2])
    with pytest.raises(ConfigError, match="no field in common: vendor; day"):
        diff(outputs.root)
