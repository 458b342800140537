"""Several processes on one key: with a quota that they share by leases, and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.prefect_server import PrefectServer
from tests.benchmarks.quotas import BUCKET, IN_FLIGHT, draw, emulator
from tests.benchmarks.recipes import UNLIMITED_TOKENS, run_command
from tests.benchmarks.report import section, table

PROCESSES, PER_S = 4, 20


@dataclass(frozen=True)
class Scenario:
    """A quota of 20 requests/s and how the processes keep it.

    Attributes:
        items: Of all processes together.
        options: The emulator's.
        limits: As the recipes have them; a share is added to those that are shared.
        away_s: From when to when the Prefect server is killed, counted from the first request.
    """

    items: int
    options: tuple[str, ...]
    limits: dict[str, int]
    is_shared: bool = True
    away_s: tuple[float, float] | None = None


GIVEN = {"requests_per_minute": 60 * PER_S, "tokens_per_minute": UNLIMITED_TOKENS}
TOKENS = {"requests_per_minute": 100_000, "tokens_per_minute": 40_000}
WINDOW = ("--requests-per-minute", str(60 * PER_S))
TOLD_BUCKET = (*BUCKET, "--retry-after", "seconds")
SCENARIOS = {
    "bucket, leased": Scenario(1800, TOLD_BUCKET, GIVEN),
    "bucket, no lease, limits: auto": Scenario(1800, TOLD_BUCKET, {}, is_shared=False),
    "window, leased": Scenario(1800, WINDOW, GIVEN),
    "window, no lease, limits: auto": Scenario(1800, WINDOW, {}, is_shared=False),
    "window of tokens, leased": Scenario(
        1600, ("--requests-per-minute", "100000", "--tokens-per-minute", "40000"), TOKENS
    ),
    "window of tokens, no lease, limits: auto": Scenario(
        1600,
        ("--requests-per-minute", "100000", "--tokens-per-minute", "40000"),
        {},
        is_shared=False,
    ),
    "bucket, leased, server killed for 40 s": Scenario(
        2400, TOLD_BUCKET, GIVEN, away_s=(40.0, 80.0)
    ),
    "window, leased, server killed for 40 s": Scenario(2400, WINDOW, GIVEN, away_s=(40.0, 80.0)),
}


def shared_quota(rounds: int) -> str:
    """4 processes (`vision-pipeline run --engine local`), one key, one quota of 20 requests/s.

    Each has its own images and output, 64 in flight at most, 0.2 s latency, and `limits.shared`
    with a share of 0.25, on a Prefect server with SQLite on the same two cores. The quota is a
    bucket that holds a second's worth and names a wait, or Mistral's window of a minute and its
    headers; of tokens, 40,000 a minute. "Used" is what was served of what the rate allows from
    the first request to the last answer; a burst into the empty window, which only those without
    a lease dare, may bring more than the whole.
    """
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(PROCESSES):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            draw(folder, max(each.items for each in SCENARIOS.values()) // PROCESSES)
        for name, scenario in SCENARIOS.items():
            rows.append(
                row(name, scenario, [measure(Path(scratch), scenario) for _ in range(rounds)])
            )
            print(rows[-1], file=sys.stderr, flush=True)
    head = (
        "quota",
        "seconds",
        "used",
        "refused",
        "rows lost",
        "first process done after s",
        "requests/s without server",
    )
    return section("Shared quota", rounds, shared_quota.__doc__ or "", table(head, rows))


def row(name: str, scenario: Scenario, runs: list[dict[str, float]]) -> tuple[str, ...]:
    """A line of the table: medians, and the rows that any of the rounds lost."""
    found = {key: median(run[key] for run in runs) for key in runs[0]}
    return (
        name,
        f"{found['seconds']:.0f}",
        f"{found['used']:.1%}",
        f"{found['refused'] / scenario.items:.2%}",
        f"{sum(scenario.items - run['served'] for run in runs):.0f}",
        f"{found['first_s']:.0f}",
        f"{found['away_per_s']:.1f}" if scenario.away_s else "",
    )


def measure(images: Path, scenario: Scenario) -> dict[str, float]:
    """One round, as the provider saw it."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base_url = stack.enter_context(emulator(scenario.options))
        server = stack.enter_context(PrefectServer(scratch)) if scenario.is_shared else None
        environment = os.environ | (server.environment if server else {"PREFECT_API_URL": ""})
        runs = [
            start(images / str(number), scratch / str(number), scenario, base_url, environment)
            for number in range(PROCESSES)
        ]

        def kill_or_start(sample: dict[str, float]) -> None:
            if server is not None and scenario.away_s is not None:
                begin_s, end_s = scenario.away_s
                server.be(is_up=not begin_s <= sample["passed_s"] < end_s)

        samples, ended_s = watch(runs, base_url, kill_or_start)
        served = sum(json.loads(run.communicate()[0])["ok"] for run in runs)
    stats = samples[-1]
    seconds = stats["last_at_s"] - stats["first_at_s"]
    used = served / PER_S
    if "--tokens-per-minute" in scenario.options:
        used = (stats["prompt_tokens"] + stats["completion_tokens"]) / (40_000 / 60)
    return {
        "seconds": seconds,
        "used": used / seconds,
        "refused": stats["refused"],
        "served": served,
        "first_s": ended_s,
        "away_per_s": rate(samples, scenario.away_s) if scenario.away_s else 0.0,
    }


def start(
    images: Path, scratch: Path, scenario: Scenario, base_url: str, environment: dict[str, str]
) -> subprocess.Popen[str]:
    """One of the processes."""
    scratch.mkdir()
    shared = {"shared": {"name": "bench", "share": 1 / PROCESSES}} if scenario.is_shared else {}
    command = run_command(
        scratch,
        base_url,
        source={"path": str(images), "limit": scenario.items // PROCESSES},
        limits={"max_in_flight": IN_FLIGHT} | scenario.limits | shared,
    )
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def watch(
    runs: list[subprocess.Popen[str]], base_url: str, act: Callable[[dict[str, float]], None]
) -> tuple[list[dict[str, float]], float]:
    """The provider's counts until all have ended, and when the first of them did.

    Args:
        runs: What sends.
        base_url: Of the emulator.
        act: Called with each of the counts; `passed_s` is counted from the first request.
    """
    samples: list[dict[str, float]] = []
    first_s = 0.0
    while True:
        is_over = all(run.poll() is not None for run in runs)
        with urllib.request.urlopen(f"{base_url}/_emulator/stats") as response:
            stats = json.load(response)
        if stats["first_at_s"] is not None:
            passed_s = time.monotonic() - stats["first_at_s"]
            samples.append(stats | {"passed_s": passed_s})
            if not first_s and any(run.poll() is not None for run in runs):
                first_s = passed_s
            act(samples[-1])
        if is_over:
            return samples, first_s
        time.sleep(0.5)


def rate(samples: list[dict[str, float]], between_s: tuple[float, float]) -> float:
    """Requests served a second while the server was away, but for the seconds of its going."""
    begin_s, end_s = between_s[0] + 5, between_s[1]
    inside = [each for each in samples if begin_s <= each["passed_s"] < end_s]
    first, last = inside[0], inside[-1]
    return (last["served"] - first["served"]) / (last["passed_s"] - first["passed_s"])
