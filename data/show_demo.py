"""Show what the demo read: a table, the share of true words found, the cost, where it all lies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vision_pipeline.results import evaluate, load

TRUTH = "data/samples/truth.jsonl"
OUTPUT = "data/outputs/demo"
SHOWN_CHARS = 24


def main() -> None:
    """Print the demo's table against the truth of its samples."""
    frame = load(OUTPUT).set_index("item_id")
    found = evaluate(OUTPUT, TRUTH, renamed={"text": "text_lines"})
    cells = found.cells().query("field == 'text'")
    table = Table(title="what the emulator's OCR engine read", title_justify="left")
    for head in ("image", "status", "words found", "first line"):
        table.add_column(head)
    for cell in cells.itertuples():
        row = frame.loc[cell.item_id]
        told = row["text"] if row["status"] == "ok" else row["error_code"]
        first = told.partition("\n")[0][:SHOWN_CHARS]
        table.add_row(cell.item_id, row["status"], f"{cell.found}/{cell.wanted}", first)
    console = Console()
    console.print(table)
    text = found["text"]
    console.print(
        f"true words found: {text.recall:.1%} ({text.found} of {text.wanted})", highlight=False
    )
    console.print(
        f"cost at the list price of the model that the emulator stands in for: "
        f"{found.cost_usd:.4f} USD",
        highlight=False,
    )
    command = os.path.relpath(Path(sys.executable).parent / "vision-pipeline")
    for line in (
        f"the table:      {OUTPUT}/results",
        f"to look at:     {OUTPUT}/report.html",
        "in a notebook:  from vision_pipeline.results import open_results; "
        f'open_results("{OUTPUT}")',
        f"judged again:   {command} evaluate {OUTPUT} --truth {TRUTH} --map text_lines=text",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
