"""What a report tells in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.errors import OutputError
from vision_pipeline.results.latest import latest
from vision_pipeline.results.runs import RUN_COLUMNS, RunStatus, paid_rows, runs_of
from vision_pipeline.results.table import Folder, read_rows

_COLUMNS = (*RUN_COLUMNS, "latency_s", "answered_at")
_MINUTE_S = 60.0
_MICROSECONDS = 1_000_000
PERCENTILES = (50, 90, 99)

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """An output folder, or one run of it, in numbers.

    Attributes:
        items: Items shown: by their latest rows, or of the run.
        errors: How many by code, most first.
        calls: Replies paid for, of all runs or the one.
        cost_usd: Likewise; None where nothing has a price.
        latencies_s: Of each reply, unordered.
        answered_at_s: Of each reply of the newest run that has some, seconds since 1970, ordered.
        timed_run_id: That run.
        run: The newest run's file, as it was written.
        runs: All runs, or the one.
    """

    items: int
    ok: int
    errors: dict[str, int]
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    latencies_s: Seconds
    answered_at_s: Seconds
    timed_run_id: str | None
    run: Mapping[str, Any]
    runs: list[RunStatus]

    @property
    def percentiles_s(self) -> dict[int, float]:
        """Latencies by percentile; none without a reply."""
        if not len(self.latencies_s):
            return {}
        values = np.percentile(self.latencies_s, PERCENTILES)
        return dict(zip(PERCENTILES, map(float, values), strict=True))

    @property
    def most_in_a_minute(self) -> int:
        """The most replies within any 60 seconds of the timed run."""
        times = self.answered_at_s
        until = np.searchsorted(times, times + _MINUTE_S, side="left")
        return int((until - np.arange(len(times))).max(initial=0))


def figures_of(folder: Folder, run_id: str | None) -> Figures:
    """Count.

    Args:
        folder: The output folder.
        run_id: Only this run; None for the latest rows, and the cost of all runs.

    Raises:
        OutputError: No such run, or it cannot be read.
    """
    rows = read_rows(folder, columns=_COLUMNS, run_id=run_id)
    shown = latest(rows) if run_id is None else rows
    paid = paid_rows(rows)
    replied = paid.filter(pc.is_valid(paid["answered_at"]))
    timed = pc.max(pc.cast(replied["run_id"], pa.string())).as_py()
    at = replied.filter(pc.equal(replied["run_id"], timed))["answered_at"] if timed else None
    runs = [run for run in runs_of(folder, rows) if run_id in (None, run.run_id)]
    codes = Counter(code for code in shown["error_code"].to_pylist() if code)
    return Figures(
        items=shown.num_rows,
        ok=shown.num_rows - codes.total(),
        errors=dict(codes.most_common()),
        calls=sum(run.calls for run in runs),
        prompt_tokens=pc.sum(paid["prompt_tokens"]).as_py() or 0,
        completion_tokens=pc.sum(paid["completion_tokens"]).as_py() or 0,
        cost_usd=pc.sum(paid["cost_usd"]).as_py(),
        latencies_s=_numbers(pc.drop_null(paid["latency_s"])),
        answered_at_s=_seconds(at),
        timed_run_id=timed,
        run=_document(folder, timed or (runs[-1].run_id if runs else None)),
        runs=runs,
    )


def _seconds(times: pa.ChunkedArray | None) -> Seconds:
    if times is None:
        return np.zeros(0)
    moments = pc.cast(times, pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.sort(_numbers(moments) / _MICROSECONDS)


def _numbers(column: pa.ChunkedArray) -> Seconds:
    numbers: Seconds = column.to_numpy().astype(np.float64)
    return numbers


def _document(folder: Folder, run_id: str | None) -> Mapping[str, Any]:
    name = f"{run_id}.json"
    if name not in folder.names("runs"):
        return {}
    try:
        document = orjson.loads(folder.read_bytes(f"runs/{name}"))
    except orjson.JSONDecodeError as error:
        raise OutputError(f"{folder.path(f'runs/{name}')}: damaged: {error}") from error
    return document if isinstance(document, dict) else {}
