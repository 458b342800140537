"""Which of an item's rows is the one to go by."""

import pyarrow as pa
import pytest

from vision_pipeline.results.latest import latest


def picked(*runs):
    """The ids and runs of the rows that are picked, of runs given as lists of ids."""
    rows = [(item_id, f"r{number}") for number, ids in enumerate(runs) for item_id in ids.split()]
    ids, run_ids = zip(*rows, strict=True)
    table = latest(pa.table({"item_id": pa.array(ids), "run_id": pa.array(run_ids)}))
    return [f"{row['item_id']}:{row['run_id']}" for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        (["a b", "b c"], "a:r0 b:r1 c:r1"),
        (["a#page=1 a#page=2", "a#page=2"], "a#page=1:r0 a#page=2:r1"),
        (["a b", "a#page=1 a#page=2"], "b:r0 a#page=1:r1 a#page=2:r1"),
        (["a#page=1 a#page=2 b#page=1", "a"], "b#page=1:r0 a:r1"),
        (["a", "a#page=1 a#page=2", "a"], "a:r2"),
        (["a a#page=2", "a"], "a#page=2:r0 a:r1"),
        (["a a#page=2", "a#page=2"], "a:r0 a#page=2:r1"),
        (["a#page=x", "a"], "a#page=x:r0 a:r1"),
        (["a#page=1#page=2", "a#page=1"], "a#page=1:r1"),
    ],
)
def test_a_document_counts_once_however_it_was_divided(runs, wanted):
    assert picked(*runs) == wanted.split()
