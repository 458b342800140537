"""An output folder in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow.compute as pc

from vision_pipeline.results.latest import latest
from vision_pipeline.results.runs import RunStatus, answered, paid_rows, rows_of, runs_of
from vision_pipeline.results.table import open_folder


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
    rows = rows_of(folder)
    newest = latest(rows)
    paid = paid_rows(rows)
    codes = Counter(code for code in newest["error_code"].to_pylist() if code)
    return Status(
        items=newest.num_rows,
        ok=answered(newest),
        errors=dict(codes.most_common()),
        rows=rows.num_rows,
        prompt_tokens=pc.sum(paid["prompt_tokens"]).as_py() or 0,
        completion_tokens=pc.sum(paid["completion_tokens"]).as_py() or 0,
        cost_usd=pc.sum(paid["cost_usd"]).as_py(),
        runs=runs_of(folder, rows),
    )
