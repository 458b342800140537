"""An output folder in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.errors import OutputError
from vision_pipeline.results.latest import latest
from vision_pipeline.results.table import Folder, has_rows, open_folder, read_rows

_COLUMNS = [
    "item_id",
    "status",
    "error_code",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "from_ledger",
    "run_id",
]


_NO_ROWS = pa.schema(
    [
        *((name, pa.string()) for name in ("item_id", "status", "error_code", "run_id")),
        *((name, pa.int64()) for name in ("prompt_tokens", "completion_tokens")),
        ("cost_usd", pa.float64()),
        ("from_ledger", pa.bool_()),
    ]
).empty_table()


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run, as its run file and its rows tell.

    Attributes:
        items: Items in its manifest; those without a row are still to be worked on.
    """

    run_id: str
    prompt: str
    model: str
    items: int | None
    rows: int
    ok: int
    errors: int
    cost_usd: float | None
    finished: bool

    def cells(self) -> tuple[str, ...]:
        """For a table, a text per column: id, items, answered, errors, USD and state."""
        cost = "" if self.cost_usd is None else f"{self.cost_usd:.4f}"
        state = "finished" if self.finished else "cut off"
        items = "" if self.items is None else str(self.items)
        return (self.run_id, items, str(self.ok), str(self.errors), cost, state)

    @property
    def question(self) -> str:
        """What was asked, and whom."""
        return f"{self.prompt}, {self.model}"


@dataclass(frozen=True, slots=True)
class Status:
    """Counts of the latest row per item, and sums over all runs.

    Attributes:
        items: Items with at least one row.
        rows: Rows of all runs.
        cost_usd: Sum over all runs, or None if no row has a price.
    """

    items: int
    ok: int
    errors: dict[str, int]
    rows: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    runs: list[RunStatus] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Items whose latest row is an error."""
        return sum(self.errors.values())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read_status(output: str) -> Status:
    """Count what is in an output folder.

    Raises:
        OutputError: It is no output folder, or cannot be read.
    """
    folder = open_folder(output)
    rows = read_rows(folder, columns=_COLUMNS) if has_rows(folder) else _NO_ROWS
    newest = latest(rows)
    paid = rows.filter(pc.invert(rows["from_ledger"]))
    cost = pc.sum(paid["cost_usd"]).as_py()
    codes = Counter(code for code in newest["error_code"].to_pylist() if code)
    return Status(
        items=newest.num_rows,
        ok=_ok(newest),
        errors=dict(codes.most_common()),
        rows=rows.num_rows,
        prompt_tokens=pc.sum(paid["prompt_tokens"]).as_py() or 0,
        completion_tokens=pc.sum(paid["completion_tokens"]).as_py() or 0,
        cost_usd=cost,
        runs=[_run(folder, rows, name) for name in folder.names("runs")],
    )


def _run(folder: Folder, rows: pa.Table, name: str) -> RunStatus:
    try:
        document = orjson.loads(folder.read_bytes(f"runs/{name}"))
        run_id, finished_at = document["run_id"], document.get("finished_at")
        model = document["config"]["model"]["name"]
        prompt = f"{document['prompt']['name']} v{document['prompt']['version']}"
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise OutputError(f"{folder.path(f'runs/{name}')}: damaged: {error!r}") from error
    mine = rows.filter(pc.equal(rows["run_id"], run_id))
    ok = _ok(mine)
    return RunStatus(
        run_id=run_id,
        prompt=prompt,
        model=model,
        items=document.get("items"),
        rows=mine.num_rows,
        ok=ok,
        errors=mine.num_rows - ok,
        cost_usd=pc.sum(mine.filter(pc.invert(mine["from_ledger"]))["cost_usd"]).as_py(),
        finished=finished_at is not None,
    )


def _ok(rows: pa.Table) -> int:
    return int(pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0)
