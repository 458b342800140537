"""Whole processes that are stopped and killed, and the same command again."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from vision_pipeline.emulator.server import RunningEmulator, running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue

ITEMS, IN_FLIGHT, SHARD = 24, 4, 6
START = [sys.executable, "-c", "from vision_pipeline.cli.app import main; main()"]


@pytest.fixture
def slow() -> Iterator[RunningEmulator]:
    with running(EmulatorSettings(latency_s=0.2), load_catalogue()) as emulator:
        yield emulator


@pytest.fixture
def arguments(tmp_path: Path, slow: RunningEmulator) -> list[str]:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(ITEMS):
        Image.new("RGB", (40, 30), (10 * number, 1, 2)).save(folder / f"{number:02}.png")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"""
name: many
source: {{path: {folder}}}
prompt: describe
model: {{provider: emulator, base_url: "{slow.base_url}/v1"}}
limits: {{max_in_flight: {IN_FLIGHT}}}
output: {{path: {tmp_path / "out"}, shard_size: {SHARD}}}
"""
    )
    return ["run", str(recipe), "--engine", "local"]


def received(emulator: RunningEmulator) -> int:
    return int(httpx.get(f"{emulator.base_url}/_emulator/stats").json()["received"])


def stopped(arguments: list[str], emulator: RunningEmulator, number: signal.Signals) -> int:
    """Start the command, signal it once it has asked a few times, and give its exit code."""
    before = received(emulator)
    with subprocess.Popen([*START, *arguments], stderr=subprocess.DEVNULL) as process:
        while received(emulator) < before + 2 * IN_FLIGHT:
            assert process.poll() is None
        process.send_signal(number)
        return process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_requests_finish_and_nothing_is_paid_twice(arguments, slow, tmp_path, number):
    assert stopped(arguments, slow, number) == 3
    subprocess.run([*START, *arguments], check=True, capture_output=True)
    frame = load(str(tmp_path / "out"), runs="all")
    assert len(frame) == ITEMS
    assert frame["item_id"].is_unique
    assert received(slow) == ITEMS


def test_a_killed_run_pays_again_at_most_for_what_was_in_flight(arguments, slow, tmp_path):
    assert stopped(arguments, slow, signal.SIGKILL) == -signal.SIGKILL
    subprocess.run([*START, *arguments], check=True, capture_output=True)
    frame = load(str(tmp_path / "out"), runs="all")
    assert len(frame) == ITEMS
    assert frame["item_id"].is_unique
    assert set(frame["status"]) == {"ok"}
    assert ITEMS <= received(slow) <= ITEMS + IN_FLIGHT
