"""Which of an item's rows is the one to go by."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa
import pyarrow.compute as pc

_PAGE = r"#page=[0-9]+$"


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
    superseded = _superseded(rows)
    if not superseded:
        return newest
    return newest.filter(pc.invert(pc.is_in(newest["item_id"], pa.array(sorted(superseded)))))


def _superseded(rows: pa.Table) -> set[str]:
    """Ids of documents that are pages by now, and of pages that are one document by now."""
    ids = rows["item_id"]
    documents = pc.replace_substring_regex(ids, _PAGE, "")
    is_page = pc.not_equal(documents, ids)
    split = documents.filter(is_page).unique()
    of_both_kinds = rows.filter(pc.is_in(ids, split))["item_id"].unique()
    if not len(of_both_kinds):
        return set()
    concerned = pc.or_(pc.is_in(documents, of_both_kinds), pc.is_in(ids, of_both_kinds))
    runs: dict[tuple[str, bool], set[str]] = defaultdict(set)
    pages: dict[str, set[str]] = defaultdict(set)
    for item_id, document, run_id in zip(
        ids.filter(concerned).to_pylist(),
        documents.filter(concerned).to_pylist(),
        rows["run_id"].filter(concerned).to_pylist(),
        strict=True,
    ):
        runs[item_id, False].add(run_id)
        if item_id != document:
            runs[document, True].add(run_id)
            pages[document].add(item_id)
    superseded: set[str] = set()
    for document in of_both_kinds.to_pylist():
        whole, split_up = runs[document, False], runs[document, True]
        if whole.isdisjoint(split_up):
            superseded |= {document} if max(split_up) > max(whole) else pages[document]
    return superseded
