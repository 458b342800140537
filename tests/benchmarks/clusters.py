"""One run by worker processes of Dask or of Ray, on a quota that they share by leases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from tests.benchmarks.prefect_server import PrefectServer
from tests.benchmarks.quotas import IN_FLIGHT, draw, emulator
from tests.benchmarks.recipes import run_command
from tests.benchmarks.report import section, table
from tests.benchmarks.shared_quota import GIVEN, PER_S, PROCESSES, TOLD_BUCKET, WINDOW, watch
from tests.workers import workers_of
from vision_pipeline.results import load

ITEMS, SHARD = 1800, 50
PACKAGES = {"dask": "distributed", "ray": "ray"}


@dataclass(frozen=True)
class Scenario:
    """A quota of 20 requests/s and what happens meanwhile.

    Attributes:
        options: The emulator's.
        kill_s: When a worker is killed, counted from the first request.
    """

    options: tuple[str, ...]
    kill_s: float | None = None


SCENARIOS = {
    "bucket": Scenario(TOLD_BUCKET),
    "window": Scenario(WINDOW),
    # So slow that each worker has several calls on the wire.
    "bucket, 1 s latency, a worker killed after 40 s": Scenario(
        (*TOLD_BUCKET, "--latency", "1"), kill_s=40.0
    ),
}


def clusters(rounds: int) -> str:
    """One run by 4 worker processes of Dask or of Ray, one key, one quota of 20 requests/s.

    `execution: {runner: dask, workers: 4}` or `ray`, `limits.shared` with a share of 0.25, 1,800
    images in shards of 50, 64 in flight at most in each worker, 0.2 s latency where nothing else
    is said. Quotas and "used" are those of Shared quota; of the quota 97 % is leased.
    A killed worker gets SIGKILL; its calls on the wire are paid again.
    """
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        draw(Path(scratch), ITEMS)
        for runner, package in PACKAGES.items():
            if find_spec(package) is None:
                rows.append((runner, "not measured: the extra is not installed", *[""] * 6))
                continue
            for name, scenario in SCENARIOS.items():
                runs = [measure(Path(scratch), runner, scenario) for _ in range(rounds)]
                rows.append((runner, name, *shown(runs, scenario)))
                print(rows[-1], runs, file=sys.stderr, flush=True)
    head = (
        "runner",
        "quota",
        "seconds",
        "used",
        "refused",
        "rows lost",
        "calls paid twice",
        "on the wire at the kill, all workers",
    )
    return section("Clusters", rounds, clusters.__doc__ or "", table(head, rows))


def shown(runs: list[dict[str, float]], scenario: Scenario) -> tuple[str, ...]:
    """Medians, the rows that any of the rounds lost, and the most calls that one paid twice."""
    found = {key: median(run[key] for run in runs) for key in runs[0]}
    return (
        f"{found['seconds']:.0f}",
        f"{found['used']:.1%}",
        f"{found['refused'] / ITEMS:.2%}",
        f"{sum(run['lost'] for run in runs):.0f}",
        f"{max(run['twice'] for run in runs):.0f}",
        f"{found['on_wire']:.0f}" if scenario.kill_s else "",
    )


def measure(images: Path, runner: str, scenario: Scenario) -> dict[str, float]:
    """One round, as the provider saw it."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base_url = stack.enter_context(emulator(scenario.options))
        server = stack.enter_context(PrefectServer(scratch))
        command = run_command(
            scratch,
            base_url,
            source={"path": str(images), "limit": ITEMS},
            limits=GIVEN
            | {"max_in_flight": IN_FLIGHT, "shared": {"name": "bench", "share": 1 / PROCESSES}},
            execution={"runner": runner, "workers": PROCESSES},
            output={"shard_size": SHARD},
        )
        environment = os.environ | server.environment
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
            on_wire: list[float] = []

            def kill_once(sample: dict[str, float]) -> None:
                if scenario.kill_s and not on_wire and sample["passed_s"] >= scenario.kill_s:
                    on_wire.append(sample["in_flight"])
                    os.kill(workers_of(run.pid)[0], signal.SIGKILL)

            samples, _ = watch([run], base_url, kill_once)
            told = run.communicate()[0]
        assert run.returncode == 0, (run.returncode, told)
        rows = load(scratch / "out", columns=["item_id", "status"])
    stats = samples[-1]
    seconds = stats["last_at_s"] - stats["first_at_s"]
    answered = rows[rows["status"] == "ok"]["item_id"].nunique()
    assert len(rows) == answered == json.loads(told)["ok"], told
    return {
        "seconds": seconds,
        "used": stats["served"] / PER_S / seconds,
        "refused": stats["refused"],
        "lost": ITEMS - answered,
        # Also those that were dropped before their answer: a provider may bill them.
        "twice": stats["served"] + stats["abandoned"] - answered,
        "on_wire": on_wire[0] if on_wire else 0,
    }
