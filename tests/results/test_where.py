"""Loading only some rows."""

import pyarrow.dataset as ds
import pytest

from tests.results.runs import FIRST, SECOND, Outputs
from vision_pipeline import results
from vision_pipeline.core.columns import Scalar
from vision_pipeline.core.errors import OutputError

TOTAL = (("total", Scalar.NUMBER), ("kind", Scalar.CHOICE))
CAPTION = (("caption", Scalar.STRING),)


@pytest.fixture
def two_prompts(tmp_path):
    """Totals of a, b and c; then captions of b and d, and an error of c."""
    outputs = Outputs(str(tmp_path / "out"))
    totals = {name: {"total": n + 0.5, "kind": "FGF"[n]} for n, name in enumerate("abc")}
    outputs.run(FIRST, totals, columns=TOTAL)
    captions = {"b": {"caption": "a cat"}, "c": "timeout", "d": {"caption": "a dog"}}
    outputs.run(SECOND, captions, columns=CAPTION, prompt="describe")
    return outputs.root


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"status": "error"}, "c"),
        ({"status": "ok", "caption": ["a cat", "a dog"]}, "bd"),
        ({"caption": ["a cat", None]}, "abc"),
        ({"caption": None, "status": "ok"}, "a"),
        ([("total", ">", 0)], "a"),
        ([("item_id", "in", ["b", "a"])], "ab"),
        (ds.field("kind") == "F", "a"),
        ({}, "abcd"),
        (None, "abcd"),
    ],
)
def test_what_counts_is_the_latest_row_of_each_item(two_prompts, where, wanted):
    frame = results.load(two_prompts, columns=["status"], where=where)
    assert "".join(sorted(frame["item_id"])) == wanted
    assert list(frame.columns) == ["item_id", "status"]


def test_rows_of_all_runs_and_of_one_are_chosen_likewise(two_prompts):
    where = {"item_id": ["b", "c"], "status": "ok"}
    assert list(results.load(two_prompts, runs="all", where=where)["item_id"]) == ["b", "c", "b"]
    assert list(results.load(two_prompts, runs=FIRST, where=where)["total"]) == [1.5, 2.5]


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"nope": 1}, r"FieldRef\.Name\(nope\); there are: item_id, image_uri"),
        ({"total": "much"}, "no kernel matching input types"),
        ("status", "is no condition"),
        ([("status", "~", 1)], "is no condition"),
    ],
)
def test_a_condition_that_does_not_fit_is_told(two_prompts, where, told):
    with pytest.raises(OutputError, match=rf"^where: .*{told}"):
        results.load(two_prompts, runs=FIRST, where=where)
