"""Draw the sample images and write down exactly what they show.

    python data/make_samples.py [FOLDER]      # default: data/samples beside this file

Twelve images, `truth.jsonl` (one line an image: every printed line in reading order, and the values
of its fields where it has any) and `pairs.csv` (a manifest for `configs/compare.yaml`). All
companies, people and figures are invented. Drawn with Pillow's own font and fixed seeds, so that
the same Pillow version gives the same bytes; no clock, no network.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from drawing.charts import bar_chart, line_chart
from drawing.form import form
from drawing.invoice import invoice
from drawing.label import shipping_label
from drawing.photo import photographed_notice
from drawing.prose import prose_page
from drawing.receipts import cafe_receipt, grocery_receipt, hardware_receipt
from drawing.sample import Sample
from drawing.screenshot import screenshot
from drawing.timetable import timetable

DRAWN_WITH = "13.0.0"  # the Pillow version behind the tracked files; others may hint text otherwise

SAMPLES: tuple[Callable[[], Sample], ...] = (
    cafe_receipt,
    grocery_receipt,
    hardware_receipt,
    invoice,
    form,
    bar_chart,
    line_chart,
    screenshot,
    prose_page,
    shipping_label,
    timetable,
    photographed_notice,
)

PAIRS = """pair,image,note
tills,receipt-cafe.jpg,two receipts from different shops
tills,receipt-hardware.jpg,two receipts from different shops
charts,chart-bar-bicycles.png,two kinds of chart
charts,chart-line-solar.png,two kinds of chart
"""


def write_samples(folder: Path) -> list[Sample]:
    """Draw all samples into `folder`, with their truth and the manifest of pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [draw() for draw in SAMPLES]
    for sample in samples:
        sample.save(folder)
    rows = (json.dumps(sample.truth()) + "\n" for sample in samples)
    (folder / "truth.jsonl").write_text("".join(rows), encoding="utf-8")
    (folder / "pairs.csv").write_text(PAIRS, encoding="utf-8")
    return samples


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "samples"
    print(f"{len(write_samples(target))} images in {target}")
