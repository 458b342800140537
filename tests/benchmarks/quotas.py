"""Runs under a quota, against the best schedule that this quota allows."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image

from tests.benchmarks.recipes import UNLIMITED_TOKENS, run_command
from tests.benchmarks.report import section, table

IN_FLIGHT, LATENCY_S, WINDOW_S = 64, 0.2, 60.0


@dataclass(frozen=True)
class Scenario:
    """A quota, and a run that it binds.

    Attributes:
        items: So many that the quota is used more than once.
        options: The emulator's.
        given: The limits as a user who knows them writes them.
        bucket_per_s: Of a token bucket, its rate; it holds a second's worth.
        window: Of a sliding window, how many requests it holds; of tokens, as many as their mean
            allows, and the one that overshoots.
    """

    items: int
    options: tuple[str, ...]
    given: dict[str, int]
    bucket_per_s: float | None = None
    tokens_per_minute: int | None = None
    window: int | None = None

    def best_s(self, tokens_an_item: float) -> float:
        """From the first request to the last answer, on the best schedule."""
        if self.bucket_per_s is not None:
            return (self.items - self.bucket_per_s) / self.bucket_per_s + LATENCY_S
        window = self.window
        if self.tokens_per_minute is not None:
            window = int(self.tokens_per_minute / tokens_an_item) + 1
        assert window is not None
        free_s, sent = [0.0] * IN_FLIGHT, []
        for number in range(self.items):
            at_s = max(
                free_s[number % IN_FLIGHT],
                sent[number - window] + WINDOW_S if number >= window else 0,
            )
            sent.append(at_s)
            free_s[number % IN_FLIGHT] = at_s + LATENCY_S
        return sent[-1] + LATENCY_S


BUCKET = ("--limit-kind", "bucket", "--rate-headers", "none", "--requests-per-minute", "1200")
SCENARIOS = {
    "bucket of 20 requests/s, Retry-After": Scenario(
        1200,
        (*BUCKET, "--retry-after", "seconds"),
        {"requests_per_minute": 1200, "tokens_per_minute": UNLIMITED_TOKENS},
        bucket_per_s=20,
    ),
    "window of 1,200 requests a minute": Scenario(
        1800,
        ("--requests-per-minute", "1200"),
        {"requests_per_minute": 1200, "tokens_per_minute": UNLIMITED_TOKENS},
        window=1200,
    ),
    "window of 40,000 tokens a minute": Scenario(
        1500,
        ("--requests-per-minute", "100000", "--tokens-per-minute", "40000"),
        {"requests_per_minute": 100_000, "tokens_per_minute": 40_000},
        tokens_per_minute=40_000,
    ),
}


def quota(rounds: int) -> str:
    """Whole runs (`vision-pipeline run`) against the emulator, 64 in flight at most, 0.2 s latency.

    The best schedule is computed from the same latency and concurrency, with bursts where the
    quota allows them; time is from the first request to the last answer, as the server sees it.
    """
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        folder.mkdir()
        draw(folder, max(each.items for each in SCENARIOS.values()))
        for name, scenario in SCENARIOS.items():
            for limits in ("given", "auto"):
                runs = [measure(folder, scenario, limits) for _ in range(rounds)]
                ratio = median(run["seconds"] / run["best_s"] for run in runs)
                refused = median(run["refused"] for run in runs) / scenario.items
                lost = sum(scenario.items - run["served"] for run in runs)
                seconds = median(run["seconds"] for run in runs)
                rows.append(
                    (
                        name,
                        limits,
                        f"{seconds:.1f}",
                        f"{ratio:.3f}",
                        f"{refused:.2%}",
                        f"{lost:.0f}",
                    )
                )
    head = ("quota", "limits", "seconds", "ratio to the best schedule", "refused", "rows lost")
    return section("Quota", rounds, quota.__doc__ or "", table(head, rows))


def measure(folder: Path, scenario: Scenario, limits: str) -> dict[str, float]:
    """One run, as the server saw it."""
    with tempfile.TemporaryDirectory() as scratch, emulator(scenario.options) as base_url:
        command = run_command(
            Path(scratch),
            base_url,
            source={"path": str(folder), "limit": scenario.items},
            limits={"max_in_flight": IN_FLIGHT} | (scenario.given if limits == "given" else {}),
        )
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        summary = json.loads(ended.stdout)
        with urllib.request.urlopen(f"{base_url}/_emulator/stats") as response:
            stats = json.load(response)
    tokens = (stats["prompt_tokens"] + stats["completion_tokens"]) / stats["served"]
    return {
        "seconds": stats["last_at_s"] - stats["first_at_s"],
        "best_s": scenario.best_s(tokens),
        "refused": stats["refused"],
        "served": summary["ok"],
    }


@contextmanager
def emulator(options: tuple[str, ...]) -> Iterator[str]:
    """The base URL of an emulator with the synthetic engine."""
    command = [sys.executable, "-m", "vision_pipeline.emulator", "--until-stdin-closes"]
    command += ["--latency", str(LATENCY_S), *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()


def draw(folder: Path, count: int) -> None:
    """PNGs of one colour each, no two alike."""
    for number in range(count):
        Image.new("RGB", (56, 56), (number % 256, number // 256, 128)).save(
            folder / f"{number:04}.png"
        )
