"""What the Prefect flow adds to a run, and what a run leaves behind in Prefect's server."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import monotonic

from tests.benchmarks.in_flight import write_manifest
from tests.benchmarks.prefect_server import PrefectServer
from tests.benchmarks.quotas import IN_FLIGHT, emulator
from tests.benchmarks.recipes import NO_QUOTA, run_command
from tests.benchmarks.report import section, table

MOST_ROUNDS = {1_000: 5, 100_000: 2}  # those of 100,000 take minutes each
ENGINES = ("local", "prefect")

Run = dict[str, float]


def flow(rounds: int) -> str:
    """Whole `run` commands, `--engine local` against `--engine prefect`, on the same recipe.

    The items are `data:` URLs of distinct tiny PNGs in a CSV manifest, in shards of 500, 64 in
    flight at most; the emulator answers at once. It, the command and Prefect's server, which runs
    before the measuring begins, have two cores together: CPU time binds, so that what the flow and
    its server take is all seen as time. Calls of a real model take a second and more, and what
    waits for them has room for the flow: the share is an upper bound. What else goes on on the
    machine only adds: what the flow adds is the difference between the least of either engine.
    """
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as name,
        emulator(("--latency", "0")) as base_url,
        PrefectServer(Path(name)) as server,
    ):
        scratch = Path(name)
        for items, most in MOST_ROUNDS.items():
            manifest = scratch / f"{items}.csv"
            write_manifest(manifest, items)
            for number in range(min(rounds, most)):
                for engine in ENGINES:
                    folder = scratch / f"{items}-{engine}-{number}"
                    runs[items, engine].append(measure(folder, manifest, base_url, engine, server))
                    print(items, engine, runs[items, engine][-1], file=sys.stderr, flush=True)
    return section(
        "Prefect flow", rounds, flow.__doc__ or "", added(runs), LEFT_BEHIND, left_behind(runs)
    )


LEFT_BEHIND = """
What the same server had in memory and in its SQLite database before and after each run of the
flow; they follow each other as in the list, each with a run without the flow before it.
"""


def measure(
    scratch: Path, manifest: Path, base_url: str, engine: str, server: PrefectServer
) -> Run:
    """One run, as a whole process: what it took, and what it did to the server."""
    scratch.mkdir()
    command = run_command(
        scratch,
        base_url,
        engine=engine,
        source={"manifest": str(manifest)},
        image={"verify": "structure"},
        limits={"max_in_flight": IN_FLIGHT} | NO_QUOTA,
    )
    before = seen(server)
    started_s, started_cpu_s = monotonic(), cpu_of_children_s()
    environment = os.environ | server.environment
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    took = {"seconds": monotonic() - started_s, "cpu_s": cpu_of_children_s() - started_cpu_s}
    server.settle()
    after = seen(server)
    changed = {name: after[name] - before[name] for name in ("server_cpu_s", "task_runs")}
    kept = {f"{name}_before": before[name] for name in ("memory_mb", "database_mb")}
    return after | took | changed | kept


def seen(server: PrefectServer) -> Run:
    """What the server has used and recorded so far."""
    return {
        "server_cpu_s": server.cpu_s(),
        "task_runs": server.task_runs(),
        "memory_mb": server.memory_mb(),
        "database_mb": server.database_mb(),
    }


def cpu_of_children_s() -> float:
    """CPU time of the processes that were started here and have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def added(runs: dict[tuple[int, str], list[Run]]) -> str:
    """A line for each number of items and engine, and what the flow adds."""
    rows = []
    for (items, engine), found in runs.items():
        both = (found, runs[items, "local"])
        least_s, bare_s = (min(run["seconds"] for run in each) for each in both)
        least_cpu_s, bare_cpu_s = (min(map(cpu_s, each)) for each in both)
        more_s, more_cpu_s = least_s - bare_s, least_cpu_s - bare_cpu_s
        is_flow = engine == "prefect"
        rows.append(
            (
                f"{items:,}",
                engine,
                f"{len(found)}",
                f"{median(run['seconds'] for run in found):.1f}",
                f"{least_s:.1f}",
                f"{more_s:.1f} s, {more_s / bare_s:.1%}" if is_flow else "",
                f"{median(run['cpu_s'] for run in found) / items * 1000:.2f}",
                f"{median(run['server_cpu_s'] for run in found) / items * 1000:.2f}",
                f"{more_cpu_s / items * 1000:.2f} ms, {more_cpu_s / bare_cpu_s:.1%}"
                if is_flow
                else "",
                f"{median(run['task_runs'] for run in found):.0f}",
            )
        )
    head = (
        "items",
        "engine",
        "runs",
        "seconds",
        "least",
        "added",
        "CPU ms an item, command",
        "server",
        "added to both",
        "task runs",
    )
    return table(head, rows)


def cpu_s(run: Run) -> float:
    """CPU time of a run and of the server meanwhile, which takes some also with nothing to do."""
    return run["cpu_s"] + run["server_cpu_s"]


def left_behind(runs: dict[tuple[int, str], list[Run]]) -> str:
    """A line for each run of the flow: the server's memory and database."""
    rows = [
        (
            f"{items:,}",
            *(
                text
                for name in ("memory_mb", "database_mb")
                for text in (
                    f"{run[f'{name}_before']:.1f} to {run[name]:.1f}",
                    f"{run[name] - run[f'{name}_before']:+.1f}",
                )
            ),
        )
        for (items, engine), found in runs.items()
        if engine == "prefect"
        for run in found
    ]
    return table(("items", "memory, MB", "", "database, MB", ""), rows)
