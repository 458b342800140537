"""What it takes to open a table of a million rows in a notebook."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tests.benchmarks.report import section, table
from tests.results.runs import FIRST, SECOND, Outputs
from vision_pipeline.core.columns import Scalar

ITEMS, ASKED_AGAIN, IN_A_SHARD = 1_000_000, 100_000, 50_000
DRAWN, ANSWERED = 99, 95  # rows that are drawn, and those of them that are answers
ERRORS = ITEMS // IN_A_SHARD * sum(row % DRAWN >= ANSWERED for row in range(IN_A_SHARD))
COLUMNS = (("caption", Scalar.STRING), ("total", Scalar.NUMBER))
CALLS = {
    "nothing": None,
    "one column": {"columns": ["status"]},
    "three columns": {"columns": ["status", "total", "cost_usd"]},
    "errors": {"columns": ["error_code"], "where": {"status": "error"}},
    "all columns": {},
}


def loading(rounds: int) -> str:
    """`load` on 1,000,000 items, of which 100,000 were asked again in a later run.

    Bare Arrow reads the same columns of all rows into pandas, and does not look for the latest row
    of each item. Peak memory is that of the process; with nothing loaded it is that of the imports.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _lay_out(scratch)
        for way in ("bare", "load"):
            _measured(scratch, way, "one column")  # files come into the system's memory
        found = {
            (call, way): [_measured(scratch, way, call) for _ in range(rounds)]
            for call in CALLS
            for way in ("bare", "load")
        }
    rows = []
    for call in CALLS:
        bare, ours = (
            {name: median(run[name] for run in found[call, way]) for name in ("seconds", "peak_mb")}
            for way in ("bare", "load")
        )
        ratio = "" if call == "nothing" else f"{ours['seconds'] / bare['seconds']:.2f}"
        times = (
            ("", "") if call == "nothing" else (f"{ours['seconds']:.2f}", f"{bare['seconds']:.2f}")
        )
        rows.append((call, *times, ratio, f"{ours['peak_mb']:.0f}", f"{bare['peak_mb']:.0f}"))
    head = ("what", "load s", "bare Arrow s", "ratio", "load peak MB", "bare peak MB")
    return section("Loading", rounds, loading.__doc__ or "", table(head, rows))


def _measured(folder: str, way: str, call: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.loading", folder, way, call]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout)


def _lay_out(scratch: str) -> None:
    """Two runs: real rows of a few items, each many times under other names."""
    outputs = Outputs(scratch)
    answers = {
        f"{number}.jpg": {"caption": "a cat " * 9, "total": 1.5} for number in range(ANSWERED)
    }
    answers |= {f"{number}.jpg": "timeout" for number in range(ANSWERED, DRAWN)}
    for run_id, items in ((FIRST, ITEMS), (SECOND, ASKED_AGAIN)):
        outputs.run(run_id, answers, columns=COLUMNS, cost_usd=0.001, finished=True)
        folder = Path(scratch, "results", f"run_id={run_id}")
        (drawn,) = folder.glob("shard-*.parquet")
        few = pq.read_table(drawn)
        drawn.unlink()
        for shard, begin in enumerate(range(0, items, IN_A_SHARD)):
            ids = pa.array(
                [f"photos/{number:07}.jpg" for number in range(begin, begin + IN_A_SHARD)]
            )
            many = few.take(np.arange(IN_A_SHARD) % few.num_rows)
            many = many.set_column(many.schema.get_field_index("item_id"), "item_id", ids)
            pq.write_table(many, folder / f"shard-{shard:05}.parquet")


def _act(folder: str, way: str, call: str) -> None:
    """Load in one of the ways; prints how long that took, and the most memory."""
    import pandas as pd

    from vision_pipeline.results import load

    wanted = CALLS[call]
    begun_s = perf_counter()
    if wanted is not None and way == "load":
        assert len(load(folder, **wanted)) == (ERRORS if "where" in wanted else ITEMS)
    elif wanted is not None:
        condition = ds.field("status") == "error" if "where" in wanted else None
        files = ds.dataset(f"{folder}/results", format="parquet")
        names = [*wanted["columns"], "item_id"] if "columns" in wanted else None
        read = files.to_table(columns=names, filter=condition)
        read.to_pandas(types_mapper=pd.ArrowDtype, split_blocks=True, self_destruct=True)
    seconds = perf_counter() - begun_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}))


if __name__ == "__main__":
    _act(*sys.argv[1:])
