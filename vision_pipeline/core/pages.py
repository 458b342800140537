"""Documents that became items page by page, or the reverse: which of both kinds counts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

PAGE_MARK = "#page="
PAGE = rf"{PAGE_MARK}[0-9]+$"  # the end of a page's item_id; before it stands that of its document
_PAGE = re.compile(PAGE)


def superseded(rows: Iterable[tuple[str, str]]) -> set[str]:
    """Ids of documents that are pages by now, and of pages that are one document by now.

    Where one run has both kinds, somebody listed them as items of their own, and both count.

    Args:
        rows: `item_id` and `run_id` of each row, in any order; the order of the runs is that of
            their ids.
    """
    runs: dict[tuple[str, bool], set[str]] = defaultdict(set)
    pages: dict[str, set[str]] = defaultdict(set)
    for item_id, run_id in rows:
        runs[item_id, False].add(run_id)
        document = _PAGE.sub("", item_id)
        if document != item_id:
            runs[document, True].add(run_id)
            pages[document].add(item_id)
    found: set[str] = set()
    for document, its_pages in pages.items():
        whole, split_up = runs.get((document, False)), runs[document, True]
        if whole and whole.isdisjoint(split_up):
            found |= {document} if max(split_up) > max(whole) else its_pages
    return found
