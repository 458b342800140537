"""Which of an item's rows is the one to go by."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.pages import PAGE, superseded


def latest(rows: pa.Table) -> pa.Table:
    """The newest row of each item.

    A document that was one item and became one item a page, or the reverse, counts once: rows of
    the kind that no newer run has are left out. Where one run has both kinds, somebody listed
    them as items of their own, and both stay.

    Args:
        rows: With `item_id` and `run_id`, in the order of their runs.
    """
    numbers = pa.array(range(rows.num_rows), pa.int64())
    numbered = pa.table({"item_id": rows["item_id"], "number": numbers})
    keep = numbered.group_by("item_id", use_threads=False).aggregate([("number", "max")])
    newest = rows.take(keep["number_max"].sort())
    gone = _superseded(rows)
    if not gone:
        return newest
    return newest.filter(pc.invert(pc.is_in(newest["item_id"], pa.array(sorted(gone)))))


def _superseded(rows: pa.Table) -> set[str]:
    ids = rows["item_id"]
    documents = pc.replace_substring_regex(ids, PAGE, "")
    split = documents.filter(pc.not_equal(documents, ids)).unique()
    of_both_kinds = rows.filter(pc.is_in(ids, split))["item_id"].unique()
    if not len(of_both_kinds):
        return set()
    concerned = pc.or_(pc.is_in(documents, of_both_kinds), pc.is_in(ids, of_both_kinds))
    found = rows.filter(concerned)
    return superseded(zip(found["item_id"].to_pylist(), found["run_id"].to_pylist(), strict=True))
