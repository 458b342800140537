"""The rows of a run, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

MAX_FAILURES = 200  # that a summary names one by one
TALLIED = (
    "item_id",
    "error_detail",
    "status",
    "error_code",
    "repaired",
    "from_ledger",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "model",
)


@dataclass(slots=True)
class Tally:
    """Counts and sums over rows; tokens and cost are of replies that these rows paid for."""

    rows: int = 0
    ok: int = 0
    repaired: int = 0
    from_ledger: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Count rows, given with the columns `TALLIED`."""
        paid = table.filter(pc.invert(table["from_ledger"]))
        self.rows += table.num_rows
        answered = table.filter(pc.equal(pc.cast(table["status"], pa.string()), "ok"))
        self.ok += answered.num_rows
        self.repaired += _total(table["repaired"])
        self.from_ledger += _total(table["from_ledger"])
        self.prompt_tokens += _total(paid["prompt_tokens"])
        self.completion_tokens += _total(paid["completion_tokens"])
        self.cost_usd += pc.sum(paid["cost_usd"]).as_py() or 0.0
        failed = table.filter(pc.is_valid(table["error_code"]))
        for row in failed.select(["item_id", "error_code", "error_detail"]).to_pylist():
            self.errors[row["error_code"]] += 1
            self.examples.setdefault(row["error_code"], f"{row['item_id']}: {row['error_detail']}")
            if len(self.failures) < MAX_FAILURES:
                self.failures.append(row)
        self.models.update(answered["model"].to_pylist())


def _total(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)
