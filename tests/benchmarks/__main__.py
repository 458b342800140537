"""Measure, print tables, and write RESULTS.md: `python -m tests.benchmarks [ROUNDS] [SECTION ...]`.

Without a section's name all of them are measured; the others keep their place and date.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from PIL import Image

from tests.benchmarks.batch_files import batch_files
from tests.benchmarks.clusters import clusters
from tests.benchmarks.emulated import serving
from tests.benchmarks.flow import flow
from tests.benchmarks.in_flight import in_flight, memory
from tests.benchmarks.ledger import ledger
from tests.benchmarks.loading import loading
from tests.benchmarks.plan import plan
from tests.benchmarks.preparation import passed, photo
from tests.benchmarks.quotas import quota
from tests.benchmarks.report import RESULTS, section, table, updated
from tests.benchmarks.shared_quota import shared_quota
from tests.benchmarks.two_cores import two_cores

ROUNDS = 5
IMAGES = 400
LATENCY_S = 0.2
NAMES = {
    "bare": "bare aiohttp loop",
    "structure": "the product, verify: structure",
    "full": "the product, verify: full",
}


def main() -> None:
    """Run the scenarios that were asked for, or every one."""
    asked = sys.argv[1:]
    rounds = int(asked.pop(0)) if asked and asked[0].isdecimal() else ROUNDS
    if unknown := set(asked) - set(SECTIONS):
        sys.exit(f"no section {', '.join(sorted(unknown))}: there are {', '.join(SECTIONS)}")
    for name in asked or SECTIONS:
        text = SECTIONS[name](rounds)
        print(text, end="\n\n", flush=True)
        RESULTS.write_text(updated(RESULTS.read_text("utf-8"), [text]), "utf-8")


def lean_path(rounds: int) -> str:
    """400 JPEGs of about 0.5 MB, 32 in flight, 0.2 s latency, client and server on a core each.

    The workers that decode under `verify: full` share the client's core; CPU time and memory are
    theirs too.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw(folder, IMAGES)
        command = [sys.executable, "-m", "tests.benchmarks.server", str(LATENCY_S)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as server:
            base_url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            for _ in range(rounds):
                for name in NAMES:
                    found[name].append(measure(name, folder, base_url))
            server.stdin.close()
    rows = []
    for name, runs in found.items():
        seconds = median(run["seconds"] for run in runs)
        ratios = [run["seconds"] / floor["seconds"] for run, floor in zip(runs, found["bare"])]
        cpu_ms = median(run["cpu_s"] for run in runs) / IMAGES * 1000
        peak_mb = median(run["peak_mb"] for run in runs)
        rows.append(
            (
                NAMES[name],
                f"{seconds:.2f}",
                f"{median(ratios):.2f}",
                f"{cpu_ms:.2f}",
                f"{peak_mb:.0f}",
            )
        )
    head = ("", "seconds, first to last request", "ratio to bare", "CPU ms an image", "peak MB")
    return section("Lean path", rounds, lean_path.__doc__, table(head, rows))


def measure(name: str, folder: Path, base_url: str) -> dict[str, float]:
    """One client, once: its own cost, and what the server saw."""
    command = [sys.executable, "-m", "tests.benchmarks.clients", name, str(folder), base_url]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    with urllib.request.urlopen(f"{base_url}/stats") as response:
        seen = json.load(response)
    assert seen["count"] == IMAGES, seen
    return json.loads(ended.stdout) | seen


def draw(folder: Path, count: int) -> None:
    """JPEGs of noise, 1440 by 1080 px, about 0.5 MB each and no two alike."""
    noise = Image.effect_noise((1440, 1080), 40).convert("RGB")
    for number in range(count):
        column, line = number % 24, number // 24
        mark = (10 * column, 255 - 10 * line, 128)
        noise.paste(mark, (48 * column, 48 * line, 48 * column + 32, 48 * line + 32))
        noise.save(folder / f"{number:04}.jpg", quality=40)


def start_up(rounds: int) -> str:
    """Whole processes: `vision-pipeline run` with nothing left to do, against importing pyarrow."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(Path(sys.executable).parent / "vision-pipeline"), "run", "configs/demo.yaml"]
        command += ["--engine", "local", "--output", scratch]
        command += ["--set", "model.engine=synthetic", "--set", "prompt=transcribe"]
        subprocess.run(command, check=True, capture_output=True)
        floor = [sys.executable, "-c", "import pyarrow.parquet"]
        ours, floors = [], []
        for _ in range(rounds):
            ours.append(timed(lambda: subprocess.run(command, check=True, capture_output=True)))
            floors.append(timed(lambda: subprocess.run(floor, check=True)))
    ratio = median(mine / other for mine, other in zip(ours, floors))
    rows = [
        ("import pyarrow.parquet", f"{median(floors):.2f}", "1.00"),
        ("run, 12 images answered before", f"{median(ours):.2f}", f"{ratio:.2f}"),
    ]
    return section("Start-up", rounds, start_up.__doc__, table(("", "seconds", "ratio"), rows))


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    started = datetime.now(UTC)
    work()
    return (datetime.now(UTC) - started).total_seconds()


SECTIONS = {
    "lean-path": lean_path,
    "start-up": start_up,
    "plan": plan,
    "loading": loading,
    "photo": photo,
    "pass-through": passed,
    "two-cores": two_cores,
    "in-flight": in_flight,
    "memory": memory,
    "flow": flow,
    "quota": quota,
    "shared-quota": shared_quota,
    "clusters": clusters,
    "emulator": serving,
    "ledger": ledger,
    "batch-files": batch_files,
}

if __name__ == "__main__":
    main()
