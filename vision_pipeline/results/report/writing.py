"""Writing a report: one file, or a folder of pages, row by row."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from vision_pipeline.core.errors import ItemError, OutputError
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.records import ImageRef
from vision_pipeline.results.pictures import (
    FULL_SIDE_PX,
    THUMBNAIL_SIDE_PX,
    Draw,
    base64,
    references,
    shown_settings,
    shrunk,
)
from vision_pipeline.results.report.entries import COLUMNS, as_json, entry, kind_of
from vision_pipeline.results.report.figures import figures_of
from vision_pipeline.results.report.page import Frame, page_around
from vision_pipeline.results.stream import columns_of, rows_one_by_one
from vision_pipeline.results.table import open_folder

PAGE_ITEMS = 2000
_PAGE_BYTES = 80 * 1024 * 1024  # of full images on a page, which a browser holds in memory
_LEAST_BYTES, _MOST_BYTES = 30_000, 300_000
_PX_PER_BYTE = 16  # of the square around a photo that still looks well
_MOST_IMAGES = 16  # of one item
_THREADS = 4

OpenDraw = Callable[[ImageSettings], AbstractContextManager[Draw]]
FindPrompt = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Sources:
    """What a report needs beside the table.

    Attributes:
        open_draw: Opens what gives the images, as the settings say.
        find_prompt: From the document of a run to `name`, `version`, `system`, `text` and
            `schema` of its prompt; None where they are not known any more.
    """

    open_draw: OpenDraw
    find_prompt: FindPrompt


@dataclass(frozen=True, slots=True)
class Choice:
    """What is shown.

    Attributes:
        run_id: One run; None for the latest row of each item.
        limit: Only the first so many items.
        page_items: Most items in a file.
    """

    run_id: str | None = None
    limit: int | None = None
    page_items: int = PAGE_ITEMS


EVERYTHING = Choice()


@dataclass(frozen=True, slots=True)
class Report:
    """A report that was written.

    Attributes:
        path: Its file, or the first of its pages.
        pages: How many files it has.
        shown: Items in it.
        items: Items that there are.
    """

    path: Path
    pages: int
    shown: int
    items: int


def write_report(
    output: str,
    out: Path,
    sources: Sources,
    choice: Choice = EVERYTHING,
    *,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Report:
    """Write the latest row of each item, or the rows of one run, as HTML.

    Memory does not grow with the number of items, but for the figures: some 100 bytes a row.

    Args:
        output: The output folder, local or a URL.
        out: The file. For more items than a page holds, the folder of this name without its ending.
        sources: Images and prompts.
        choice: Which items.
        progress: Told how many items are written, of how many.

    Raises:
        OutputError: There is no table, no such run, or the file cannot be written.
    """
    folder, run_id, page_items = open_folder(output), choice.run_id, choice.page_items
    figures = figures_of(folder, run_id)
    fields, given = columns_of(folder, run_id)
    count = min(figures.items, choice.limit or figures.items)
    pages = -(-count // page_items) or 1
    paths = _paths(out, pages)
    columns = [
        {"name": name, "kind": kind_of(kind), "given": name in given}
        for name, kind in fields.items()
    ]
    rows = islice(rows_one_by_one(folder, run_id, [*COLUMNS, *fields]), count)
    budget = _PAGE_BYTES // max(min(count, page_items), 1)
    settings = _settings(min(max(budget, _LEAST_BYTES), _MOST_BYTES))
    prompt = sources.find_prompt(figures.run)
    frame = Frame(
        figures=figures,
        title=_title(figures.run, output),
        prompt=prompt,
        columns=as_json({"fields": columns, "prompt": prompt}),
        pages=[path.name for path in paths],
        items=count,
    )
    with ExitStack() as stack:
        draw = stack.enter_context(sources.open_draw(settings))
        make = partial(_block, fields=list(fields), draw=draw)
        # Closed before what draws, since its threads wait for that.
        blocks = stack.enter_context(closing(_in_threads(rows, make)))
        for number, path in enumerate(paths, 1):
            begin = (number - 1) * page_items
            here = min(page_items, count - begin)
            before, behind = page_around(frame, page=number, items=here)
            _write(path, before, _told(progress, begin, count, islice(blocks, here)), behind)
    if pages > 1:
        _remove_others(paths)
    return Report(paths[0], pages, count, figures.items)


def _settings(max_bytes: int) -> ImageSettings:
    """As large as fits at first: each further try to encode costs as much as the one before."""
    side_px = min(FULL_SIDE_PX, round((_PX_PER_BYTE * max_bytes) ** 0.5))
    return shown_settings(max_side_px=side_px, max_bytes=max_bytes)


def _paths(out: Path, pages: int) -> list[Path]:
    if pages == 1:
        return [out]
    folder = out.with_suffix("")
    return [
        folder / ("index.html" if page == 1 else f"page-{page}.html")
        for page in range(1, pages + 1)
    ]


def _remove_others(paths: Sequence[Path]) -> None:
    """Pages that an earlier report had more."""
    for path in set(paths[0].parent.glob("page-*.html")) - set(paths):
        with suppress(OSError):
            path.unlink()


def _title(run: Mapping[str, Any], output: str) -> str:
    name = (run.get("config") or {}).get("name")
    return str(name or output.rstrip("/").rpartition("/")[2])


def _told(
    progress: Callable[[int, int], None], begin: int, count: int, blocks: Iterable[bytes]
) -> Iterator[bytes]:
    for done, block in enumerate(blocks, begin + 1):
        yield block
        progress(done, count)


def _write(path: Path, before: bytes, blocks: Iterable[bytes], behind: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(before)
            for number, block in enumerate(blocks):
                file.write(block.replace(b"%N", str(number).encode()))
            file.write(behind)
        draft.replace(path)
    except OSError as error:
        cause = error.strerror or error
        raise OutputError(f"{path}: the report cannot be written: {cause}") from error
    finally:
        with suppress(OSError):  # replaced by now, or its folder is what is missing
            draft.unlink()


def _in_threads(
    rows: Iterator[Mapping[str, Any]], make: Callable[[Mapping[str, Any]], bytes]
) -> Generator[bytes]:
    """What is made of each row, in order; a few at once, and never many ahead."""
    threads = max(_THREADS, 2 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(threads, "report") as pool:
        ahead: deque[Future[bytes]] = deque(pool.submit(make, row) for row in islice(rows, threads))
        while ahead:
            done = ahead.popleft().result()
            ahead.extend(pool.submit(make, row) for row in islice(rows, 1))
            yield done


def _block(row: Mapping[str, Any], *, fields: Sequence[str], draw: Draw) -> bytes:
    """An item as elements that hold data, with `%N` for its place on the page."""
    images, stored = [], []
    for at, ref in enumerate(references(row)[:_MOST_IMAGES]):
        why, found = _picture(ref, draw)
        images.append((ref, why))
        for size, data in found.items():
            stored.append(f'<script type="text/plain" id="{size}%N-{at}">{base64(data)}</script>\n')
    item = as_json(entry(row, fields, images)).replace(b"%", b"\\u0025")
    head = b'<script type="application/json" class="item" data-number="%N">'
    return head + item + b"</script>\n" + "".join(stored).encode()


def _picture(ref: ImageRef, draw: Draw) -> tuple[str, dict[str, bytes]]:
    try:
        image = draw(ref)
    except ItemError as error:
        return error.detail, {}
    return "", {"t": shrunk(image, THUMBNAIL_SIDE_PX), "b": image.data}
