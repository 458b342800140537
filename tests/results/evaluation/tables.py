"""An output folder of receipts with two runs, and truth files about them."""

import json
from datetime import date

from tests.results.runs import FIRST, SECOND
from vision_pipeline.core.columns import ListOf, Scalar, StructOf

LINE = ListOf(StructOf((("name", Scalar.STRING), ("price", Scalar.NUMBER))))
COLUMNS = (
    ("vendor", Scalar.STRING),
    ("day", Scalar.DATE),
    ("total", Scalar.NUMBER),
    ("paid_by", Scalar.CHOICE),
    ("is_food", Scalar.BOOLEAN),
    ("labels", ListOf(Scalar.STRING)),
    ("place", StructOf((("city", Scalar.STRING), ("zip", Scalar.STRING)))),
    ("lines", LINE),
)
TEA = {"name": "Tea", "price": 3.8}
TART = {"name": "Plum tart", "price": 11.3}


def answer(**changes):
    """A receipt's answer."""
    return {
        "vendor": "Tannbeck Cafe",
        "day": date(2026, 11, 6),
        "total": 30.4,
        "paid_by": "card",
        "is_food": True,
        "labels": ["cafe", "lunch"],
        "place": {"city": "Port Ellery", "zip": "0042"},
        "lines": [TEA, TART],
    } | changes


def write_two_runs(outputs):
    """Of a.jpg to d.jpg, d.jpg an error; then a changed total and vendor, an error for an error."""
    first = {f"{name}.jpg": answer() for name in "abc"} | {"d.jpg": "timeout"}
    outputs.run(FIRST, first, columns=COLUMNS, cost_usd=0.01, latency_s=1.0)
    second = {
        "a.jpg": answer(total=31.0),
        "b.jpg": answer(vendor="Tannbeck", paid_by="cash"),
        "c.jpg": "invalid_answer",
        "d.jpg": answer(),
    }
    outputs.run(SECOND, second, columns=COLUMNS, cost_usd=0.02, latency_s=3.0)
    return outputs.root


def write_lines(path, rows):
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    return str(path)
