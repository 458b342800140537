"""The runs of an output folder, as their run files and their rows tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.errors import OutputError
from vision_pipeline.results.table import Folder, has_rows, open_folder, read_rows

RUN_COLUMNS = (
    "item_id",
    "status",
    "error_code",
    "repaired",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "from_ledger",
    "run_id",
)
_NAMED_CODES = 3  # a retry of more is one of all, more or less
_NO_ROWS = pa.schema(
    [
        *((name, pa.string()) for name in ("item_id", "status", "error_code", "run_id")),
        *((name, pa.int64()) for name in ("prompt_tokens", "completion_tokens")),
        *((name, pa.bool_()) for name in ("repaired", "from_ledger")),
        ("cost_usd", pa.float64()),
    ]
).empty_table()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """One run.

    Attributes:
        items: Items in its manifest; those without a row are still to be worked on.
        calls: Replies that its rows paid for; a repaired answer took two.
        cost_usd: What they cost, or None where no row has a price.
        begun_at: UTC, in ISO 8601; None for a run of an early version.
        finished_at: Likewise; None for one that was cut off or is still at work.
        selection: What it was about, where that was not all of the source.
        reparse: Whether it read stored replies under another schema, and asked nobody.
    """

    run_id: str
    prompt: str
    model: str
    items: int | None
    rows: int
    ok: int
    errors: int
    calls: int
    cost_usd: float | None
    begun_at: str | None = None
    finished_at: str | None = None
    finished: bool
    selection: Mapping[str, Any] = field(default_factory=dict)
    reparse: bool = False

    def cells(self) -> tuple[str, ...]:
        """For a table, a text per column: id, items, answered, errors, calls, USD and state."""
        cost = "" if self.cost_usd is None else f"{self.cost_usd:.4f}"
        state = "finished" if self.finished else "cut off"
        items = "" if self.items is None else str(self.items)
        counts = (items, str(self.ok), str(self.errors), str(self.calls))
        return (self.run_id, *counts, cost, state)

    @property
    def question(self) -> str:
        """What was asked, and whom."""
        reparse = ", reparse" if self.reparse else ""
        return f"{self.prompt}, {self.model}{self._about()}{reparse}"

    def _about(self) -> str:
        codes = self.selection.get("codes", ())
        named = f" of {', '.join(codes)}" if len(codes) <= _NAMED_CODES else ""
        if set(self.selection) == {"codes"}:
            return f", retry{named}"
        parts = [f"{key} {value}" for key, value in self.selection.items() if key != "codes"]
        errors = [f"errors{named}"] if codes else []
        return f", backfill by {', '.join([*parts, *errors])}" if parts else ""

    @property
    def times(self) -> str:
        """From when to when, to the second; the date once where it is the same."""
        begun, finished = (
            (at or "")[:19].replace("T", " ") for at in (self.begun_at, self.finished_at)
        )
        if not finished:
            return begun
        date, _, time = finished.partition(" ")
        return f"{begun} to {time if begun.startswith(date) else finished}"


def read_runs(output: str) -> list[RunStatus]:
    """All runs of an output folder, oldest first.

    Raises:
        OutputError: It is no output folder, or cannot be read.
    """
    folder = open_folder(output)
    return runs_of(folder, rows_of(folder))


def rows_of(folder: Folder) -> pa.Table:
    """`RUN_COLUMNS` of all rows of all runs."""
    return read_rows(folder, columns=RUN_COLUMNS) if has_rows(folder) else _NO_ROWS


def runs_of(folder: Folder, rows: pa.Table) -> list[RunStatus]:
    """All runs, from rows that are read already."""
    return [_run(folder, rows, name) for name in folder.names("runs")]


def paid_rows(rows: pa.Table) -> pa.Table:
    """Those that carry a cost of their own."""
    return rows.filter(pc.invert(rows["from_ledger"]))


def answered(rows: pa.Table) -> int:
    """How many are answers."""
    return _total(pc.equal(rows["status"], "ok"))


def _run(folder: Folder, rows: pa.Table, name: str) -> RunStatus:
    try:
        document = orjson.loads(folder.read_bytes(f"runs/{name}"))
        run_id, finished_at = document["run_id"], document.get("finished_at")
        model = document["config"]["model"]["name"]
        prompt = f"{document['prompt']['name']} v{document['prompt']['version']}"
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise OutputError(f"{folder.path(f'runs/{name}')}: damaged: {error!r}") from error
    mine = rows.filter(pc.equal(rows["run_id"], run_id))
    paid = paid_rows(mine)
    replied = paid.filter(pc.is_valid(paid["prompt_tokens"]))
    ok = answered(mine)
    return RunStatus(
        run_id=run_id,
        prompt=prompt,
        model=model,
        items=document.get("items"),
        rows=mine.num_rows,
        ok=ok,
        errors=mine.num_rows - ok,
        calls=replied.num_rows + _total(replied["repaired"]),
        cost_usd=pc.sum(paid["cost_usd"]).as_py(),
        begun_at=document.get("started_at"),
        finished_at=finished_at,
        finished=finished_at is not None,
        selection=_selection(document),
        reparse=bool(document.get("reparse")),
    )


def _selection(document: Mapping[str, Any]) -> Mapping[str, Any]:
    # Runs of an early version told of retries alone.
    codes = document.get("retry")
    return document.get("selection") or ({"codes": codes} if codes else {})


def _total(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)
