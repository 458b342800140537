"""Lists of files and of jobs, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import cast

from vision_pipeline.adapters.batch_api.calls import Calls, no_sense
from vision_pipeline.core.batch import BatchForm, Document
from vision_pipeline.core.batch_refusals import Call


async def rows_of(
    calls: Calls, form: BatchForm, path: str, query: Mapping[str, str]
) -> AsyncIterator[Document]:
    """All rows, each once, as the provider orders them.

    Args:
        calls: Of the API.
        form: How the provider tells of further pages.
        path: Of the list, below the endpoint.
        query: Of its first page.

    Raises:
        RunError: The key is refused, or the server fails for too long.
    """
    following: Mapping[str, str] | None = query
    seen: set[str] = set()
    while following is not None:
        page = await _page(calls, path, following)
        new = [row for row in page["data"] if str(row.get("id")) not in seen]
        for row in new:
            yield row
        seen.update(str(row.get("id")) for row in new)
        # A server that takes no notice of the page says the same for ever.
        following = form.next_page(following, page) if new else None


async def _page(calls: Calls, path: str, query: Mapping[str, str]) -> Document:
    # Each page outlasts what passes by itself: a long list would else begin anew ever again.
    async def read() -> Document:
        page = await calls.json(Call.LIST, "GET", path, query=query)
        rows = page.get("data") if isinstance(page, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise no_sense(f"{Call.LIST}: no list in the answer")
        return cast("Document", page)

    return await calls.outlast(Call.LIST, read)
