"""Show what the demo read: a table, the share of true words found, the cost, where it all lies."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vision_pipeline.results import load
from vision_pipeline.results.words import found_words, words

TRUTH = Path("data/samples/truth.jsonl")
OUTPUT = "data/outputs/demo"
SHOWN_CHARS = 24


def main() -> None:
    """Print the demo's table against the truth of its samples."""
    frame = load(OUTPUT).set_index("item_id")
    truth = [json.loads(line) for line in TRUTH.read_text("utf-8").splitlines()]
    table = Table(title="what the emulator's OCR engine read", title_justify="left")
    for head in ("image", "status", "words found", "first line"):
        table.add_column(head)
    found = total = 0
    for entry in truth:
        row = frame.loc[entry["image"]]
        true_words = words("\n".join(entry["text_lines"]))
        hits = found_words(true_words, words(row["text"] or ""))
        found, total = found + hits, total + len(true_words)
        first = (row["text"] or row["error_code"]).partition("\n")[0][:SHOWN_CHARS]
        table.add_row(entry["image"], row["status"], f"{hits}/{len(true_words)}", first)
    console = Console()
    console.print(table)
    console.print(f"true words found: {found / total:.1%} ({found} of {total})", highlight=False)
    console.print(
        f"cost at the list price of the model that the emulator stands in for: "
        f"{frame['cost_usd'].sum():.4f} USD",
        highlight=False,
    )
    console.print(f"the table:    {OUTPUT}/results")
    console.print(
        f'in a notebook:  from vision_pipeline.results import load; load("{OUTPUT}")',
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
