"""Documents that became pages, and pages that became documents."""

import pytest

from vision_pipeline.core.pages import superseded


def gone(*runs):
    """What is superseded, of runs given as lists of ids."""
    return superseded(
        (item_id, f"r{number}") for number, ids in enumerate(runs) for item_id in ids.split()
    )


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        ([], ""),
        (["a b", "a"], ""),
        (["a#page=1 a#page=2", "a#page=2"], ""),
        (["a b", "a#page=1 a#page=2"], "a"),
        (["a#page=1 a#page=2 b#page=1", "a"], "a#page=1 a#page=2"),
        (["a", "a#page=1", "a"], "a#page=1"),
        (["a a#page=2", "a"], ""),
        (["a#page=x", "a"], ""),
    ],
)
def test_the_kind_that_the_newer_run_has_counts(runs, wanted):
    assert gone(*runs) == set(wanted.split())
