"""Which of an item's rows is the one to go by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.pages import PAGE, PAGE_MARK, superseded


def latest(rows: pa.Table) -> pa.Table:
    """The newest row of each item.

    A document that was one item and became one item a page, or the reverse, counts once: rows of
    the kind that no newer run has are left out. Where one run has both kinds, somebody listed
    them as items of their own, and both stay.

    Args:
        rows: With `item_id` and `run_id`, in the order of their runs.
    """
    return rows.filter(pa.array(are_latest(rows)))


def are_latest(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Whether each row is one of `latest`."""
    codes = rows["item_id"].combine_chunks().dictionary_encode()
    last = np.zeros(len(codes.dictionary), np.int64)
    last[codes.indices.to_numpy()] = np.arange(rows.num_rows)  # the last of equal ones stays
    are_newest = np.zeros(rows.num_rows, np.bool_)
    are_newest[last] = True
    gone = _superseded(rows)
    if gone:
        are_newest &= ~pc.is_in(rows["item_id"], pa.array(sorted(gone))).to_numpy()
    return are_newest


def _superseded(rows: pa.Table) -> set[str]:
    ids = rows["item_id"]
    if not pc.any(pc.match_substring(ids, PAGE_MARK)).as_py():
        return set()
    documents = pc.replace_substring_regex(ids, PAGE, "")
    split = documents.filter(pc.not_equal(documents, ids)).unique()
    of_both_kinds = rows.filter(pc.is_in(ids, split))["item_id"].unique()
    if not len(of_both_kinds):
        return set()
    concerned = pc.or_(pc.is_in(documents, of_both_kinds), pc.is_in(ids, of_both_kinds))
    found = rows.filter(concerned)
    return superseded(zip(found["item_id"].to_pylist(), found["run_id"].to_pylist(), strict=True))
