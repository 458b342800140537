"""What it costs to find out that nothing is left to do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.report import section, table
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.adapters.parquet.table import result_table
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.records import Row
from vision_pipeline.pipeline.plan import Pending, plan_run
from vision_pipeline.pipeline.services import Services
from vision_pipeline.wiring.services import open_services

SIZES = (10_000, 100_000, 1_000_000)
KINDS = ("manifest", "folder")
FILES_A_FOLDER, SHARD = 1000, 500
RUN_ID = "20261101T000000Z-aaaa"


def plan(rounds: int) -> str:
    """All items answered before, in shards of 500: list the source, see that nothing is left.

    The manifest is Parquet, with a column beside the paths; both sources look at every file's size
    and time. The ratio is that of the time per item to the time per item of the smallest size.
    """
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            _lay_out(Path(scratch), size)
            for kind in KINDS:
                _measured(scratch, kind, "answer")
                found[kind, size] = [_measured(scratch, kind, "plan") for _ in range(rounds)]
    rows = []
    for (kind, size), runs in found.items():
        seconds = median(run["seconds"] for run in runs)
        least = median(run["seconds"] for run in found[kind, SIZES[0]])
        rows.append(
            (
                kind,
                f"{size:,}",
                f"{seconds:.2f}",
                f"{median(run['peak_mb'] for run in runs):.0f}",
                f"{seconds / size / (least / SIZES[0]):.2f}",
            )
        )
    head = ("source", "items", "seconds", "peak MB", "ratio per item")
    return section("Plan", rounds, plan.__doc__ or "", table(head, rows))


def _measured(folder: str, kind: str, action: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.plan", folder, kind, action]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout)


def _lay_out(scratch: Path, size: int) -> None:
    """Empty files named like images, and a manifest of them."""
    paths = [f"images/{n // FILES_A_FOLDER:05}/{n:07}.jpg" for n in range(size)]
    for start in range(0, size, FILES_A_FOLDER):
        (scratch / paths[start]).parent.mkdir(parents=True)
    for path in paths:
        (scratch / path).touch()
    listed = pa.table({"image": paths, "shop": [f"shop {n % 97}" for n in range(size)]})
    pq.write_table(listed, scratch / "items.parquet")


def _config(scratch: Path, kind: str) -> RunConfig:
    source = {"path": str(scratch / "images")}
    if kind == "manifest":
        source = {"manifest": str(scratch / "items.parquet")}
    return RunConfig.model_validate(
        {
            "name": "plan",
            "source": source,
            "prompt": "describe",
            "model": {"provider": "emulator", "engine": "synthetic"},
            "output": {"path": str(scratch / f"out-{kind}"), "shard_size": SHARD},
        }
    )


def _answer(services: Services) -> None:
    """A finished run of all items, without a call: its files as the store writes them."""
    results = ResultStore(OutputFolder(services.config.output.path))
    batches = Pending(services).batches()
    first = next(batches)
    results.freeze(
        RUN_ID,
        _chained(first, batches),
        schema=first.schema,
        shard_size=services.config.output.shard_size,
    )
    results.write_run(RUN_ID, {"run_id": RUN_ID, "abilities": services.abilities})
    usual = _rows(services)
    folder = Path(results.results_path()) / f"run_id={RUN_ID}"
    folder.mkdir(parents=True)
    for shard in range(len(results.shard_rows(RUN_ID))):
        items = results.shard_items(RUN_ID, shard)
        rows = usual.slice(0, items.num_rows)
        ids = items["item_id"].to_pylist()
        digests = [hashlib.sha256(name.encode()).hexdigest() for name in ids]
        images = items["images"].combine_chunks().flatten()
        for name, values in (
            ("item_id", items["item_id"]),
            ("image_uri", images.field("uri")),
            ("image_version", images.field("version")),
            ("image_sha256", pa.array(digests)),
            ("idempotency_key", pa.array(digests)),
        ):
            rows = rows.set_column(rows.column_names.index(name), name, values)
        pq.write_table(rows, folder / f"shard-{shard:05d}.parquet", compression="zstd")


def _chained(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _rows(services: Services) -> pa.Table:
    row = Row(
        item_id="",
        image_uri="",
        status="ok",
        reply_text="a text of the usual length " * 4,
        finish_reason="stop",
        provider="emulator",
        model="m",
        prompt="describe",
        prompt_version="1",
        question_sha256=services.question.sha256,
        prompt_tokens=1000,
        completion_tokens=50,
        cost_usd=0.001,
        answered_at=datetime(2026, 11, 1, tzinfo=UTC),
        run_id=RUN_ID,
        shard=0,
    )
    return result_table([row] * SHARD, answer_columns=(), manifest_columns=pa.table({}))


async def _main(scratch: Path, kind: str, action: str) -> dict[str, float]:
    async with open_services(_config(scratch, kind), asks=False) as services:
        if action == "answer":
            await asyncio.to_thread(_answer, services)
            return {}
        started = perf_counter()
        run = await asyncio.to_thread(plan_run, services, now=datetime.now(UTC), token="bbbb")  # noqa: S106  (part of a name)
        seconds = perf_counter() - started
        assert run.items == 0, run
        assert services.progress.already_answered
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mb": peak_kb / 1000}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(Path(sys.argv[1]), *sys.argv[2:]))))
