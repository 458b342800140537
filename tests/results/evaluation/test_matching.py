import pytest

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.results.evaluation.matching import match_rows
from vision_pipeline.results.evaluation.truth import UNKNOWN, Truth

IDS = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "scan.pdf#page=3"]
URIS = [f"/images/{name}" for name in IDS]


def matched(columns, key=None):
    return match_rows(Truth("t.csv", columns), IDS, URIS, key=key)


@pytest.mark.parametrize(
    ("column", "by", "places"),
    [
        (["b/1.jpg", "a/1.jpg"], "item_id", [2, 0]),
        (["/images/a/2.jpg"], "image_uri", [1]),
        (["2.jpg"], "file name", [1]),
        (["images/b/1.jpg", "elsewhere/2.jpg"], "file name", [2, 1]),
        (["C/x/a/1.jpg"], "file name", [0]),
        (["scan.pdf#page=3"], "item_id", [3]),
        (["2"], "file name without its ending", [1]),
        ([2], "file name without its ending", [1]),
    ],
)
def test_rows_are_matched_by_whatever_name_fits(column, by, places):
    found = matched({"k": column})
    assert (found.by, [item for _, item in found.pairs]) == (by, places)


def test_the_column_that_matches_most_is_taken():
    found = matched({"note": ["2.jpg", "-"], "file": ["a/1.jpg", "a/2.jpg"], "t.file": ["", ""]})
    assert (found.column, found.by) == ("file", "item_id")


def test_what_is_on_one_side_alone_is_listed():
    found = matched({"k": ["a/1.jpg", "z.jpg", UNKNOWN]})
    assert list(found.only_in_truth) == ["z.jpg", "(row 3)"]
    assert list(found.only_in_results) == IDS[1:]


def test_columns_that_say_the_same_are_no_choice():
    assert matched({"k": ["a/1.jpg"], "l": ["/images/a/1.jpg"]}).column == "k"


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"k": ["1.jpg"]}, "`k` '1.jpg' may be a/1.jpg, b/1.jpg; name item_id or image_uri"),
        ({"k": ["a/1.jpg", "a/1.jpg"]}, "several rows are about one item, by `k`: a/1.jpg"),
        ({"k": ["a/1.jpg"], "l": ["a/2.jpg"]}, "`k` and `l` match as many items"),
        ({"k": ["x"], "l": [True]}, "no row matches an item: it has `k` 'x'.*--key"),
    ],
)
def test_what_is_not_clear_is_refused(columns, told):
    with pytest.raises(ConfigError, match=told):
        matched(columns)


def test_the_column_can_be_named():
    assert matched({"k": ["a/1.jpg"], "l": ["a/2.jpg"]}, key="l").column == "l"
    with pytest.raises(ConfigError, match="no column 'm'"):
        matched({"k": ["a/1.jpg"]}, key="m")
