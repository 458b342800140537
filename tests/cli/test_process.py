"""Whole processes that are stopped and killed, and the same command again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import orjson
import pytest
from PIL import Image

from vision_pipeline.emulator.script import Step
from vision_pipeline.emulator.server import RunningEmulator, running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue

ITEMS, IN_FLIGHT, SHARD = 24, 4, 6
START = [sys.executable, "-c", "from vision_pipeline.cli.app import main; main()"]


@pytest.fixture
def script(request: pytest.FixtureRequest) -> tuple[Step, ...]:
    """What changes after ten requests; nothing, unless a test says so."""
    change = getattr(request, "param", None)
    return () if change is None else (Step(after_requests=10, **change),)


@pytest.fixture
def slow(script: tuple[Step, ...]) -> Iterator[RunningEmulator]:
    with running(EmulatorSettings(latency_s=0.2, script=script), load_catalogue()) as emulator:
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
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("ignored here, as under nohup, and so in each process that is started")
    with subprocess.Popen([*START, *arguments], stderr=subprocess.DEVNULL) as process:
        while received(emulator) < before + 2 * IN_FLIGHT:
            assert process.poll() is None
        process.send_signal(number)
        return process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_requests_finish_and_nothing_is_paid_twice(arguments, slow, tmp_path, number):
    assert stopped(arguments, slow, number) == 3
    subprocess.run([*START, *arguments], check=True, capture_output=True)
    frame = load(str(tmp_path / "out"), runs="all")
    assert len(frame) == ITEMS
    assert frame["item_id"].is_unique
    assert received(slow) == ITEMS


def test_impatience_does_not_change_the_exit_code(arguments, slow):
    with subprocess.Popen([*START, *arguments], stderr=subprocess.DEVNULL) as process:
        while received(slow) < 2 * IN_FLIGHT:
            assert process.poll() is None
        code = None
        while code is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(0.03)
    assert code == 3


# Both are delivered at the same moment, while the command's own modules are imported.
SIGNALLED_EARLY = """
import os, signal, sys

class Signaller:
    def find_spec(self, name, path, target=None):
        if name == "vision_pipeline.cli.commands":
            numbers = {signal.SIGINT, signal.SIGTERM}
            signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
            for number in numbers:
                os.kill(os.getpid(), number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

sys.meta_path.insert(0, Signaller())
from vision_pipeline.cli.app import main
main()
"""


def test_two_signals_at_once_before_anything_is_open_end_it_as_one_does():
    command = [sys.executable, "-c", SIGNALLED_EARLY, "--help"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "Traceback" not in ended.stderr


# What a handler raises in a finalizer is ignored by Python; it says so on stderr.
SIGNALLED_IN_A_FINALIZER = """
import os, signal, sys

class Signaller:
    def find_spec(self, name, path, target=None):
        if name == "vision_pipeline.cli.engines":
            Dying()

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Signaller())
from vision_pipeline.cli.app import main
main()
"""


def test_a_signal_that_python_loses_before_the_run_is_open_stops_it_all_the_same(arguments, slow):
    command = [sys.executable, "-c", SIGNALLED_IN_A_FINALIZER, *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert "Exception ignored" in ended.stderr
    assert ended.returncode == 3
    assert received(slow) == 0


def test_a_killed_run_pays_again_at_most_for_what_was_in_flight(arguments, slow, tmp_path):
    assert stopped(arguments, slow, signal.SIGKILL) == -signal.SIGKILL
    subprocess.run([*START, *arguments], check=True, capture_output=True)
    frame = load(str(tmp_path / "out"), runs="all")
    assert len(frame) == ITEMS
    assert frame["item_id"].is_unique
    assert set(frame["status"]) == {"ok"}
    assert ITEMS <= received(slow) <= ITEMS + IN_FLIGHT


def test_a_second_run_at_one_output_is_refused_at_once_or_waits(arguments, slow, tmp_path):
    with subprocess.Popen([*START, *arguments], stderr=subprocess.DEVNULL) as first:
        while received(slow) < IN_FLIGHT:
            assert first.poll() is None
        first.send_signal(signal.SIGSTOP)  # it holds the folder for as long as this test needs
        refused = ended(arguments)
        waiting = [*START, *arguments, "--wait"]
        with subprocess.Popen(waiting, stderr=subprocess.DEVNULL) as second:
            first.send_signal(signal.SIGCONT)
            assert first.wait(60) == 0
            assert second.wait(60) == 0
    assert refused.returncode == 3
    assert "held by run of many (2" in refused.stderr
    assert f"process {first.pid} on " in refused.stderr
    assert "Traceback" not in refused.stderr
    assert received(slow) == ITEMS
    assert len(load(str(tmp_path / "out"), runs="all")) == ITEMS


def ended(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The command, by a key that the emulator knows."""
    environment = os.environ | {"EMULATOR_KEY": "a-key-of-sixteen-letters"}
    command = [*START, *arguments, "--set", "model.api_key_env=EMULATOR_KEY"]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=environment
    )


REVOKED = ({"api_key": "another"}, ({"api_key": None}, "refuses the key"))
FORBIDDEN = (
    {"requests_per_minute": 0},
    ({"requests_per_minute": None}, "its rate limit is 0"),
)


@pytest.mark.parametrize(
    ("script", "told"), [REVOKED, FORBIDDEN], ids=["key", "limit"], indirect=["script"]
)
@pytest.mark.usefixtures("script")
def test_what_no_item_can_pass_stops_the_run_and_the_same_command_finishes_it(
    arguments, slow, tmp_path, told
):
    mended, words = told
    stopped = ended(arguments)
    assert stopped.returncode == 3
    assert words in stopped.stderr
    assert "Traceback" not in stopped.stderr
    served = httpx.get(f"{slow.base_url}/_emulator/stats").json()["served"]
    assert served >= 10 - IN_FLIGHT
    httpx.post(f"{slow.base_url}/_emulator/settings", json=mended).raise_for_status()
    assert ended(arguments).returncode == 0
    frame = load(str(tmp_path / "out"), runs="all")
    assert len(frame) == frame["item_id"].nunique() == ITEMS
    assert httpx.get(f"{slow.base_url}/_emulator/stats").json()["served"] == ITEMS


# --- readers that go away


def shell(command: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """A command line in which `"$@"` is ours; bash tells the code of a pipe's first part."""
    line = ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}", "bash", *START, *arguments]
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
def test_a_reader_of_stdout_who_goes_does_not_change_the_exit_code(arguments, json):
    ended = shell('"$@" | true', [*arguments, *json])
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_reader_of_stderr_who_goes_takes_no_result_along(arguments, tmp_path):
    ended = shell(f'"$@" --json 2>&1 >{tmp_path / "json"} | true', arguments)
    assert ended.returncode == 0
    assert orjson.loads((tmp_path / "json").read_bytes())["ok"] == ITEMS


def test_an_error_that_nobody_reads_keeps_its_exit_code(tmp_path):
    assert shell('"$@" 2>&1 | true', ["run", str(tmp_path / "none.yaml")]).returncode == 2


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
def test_a_full_disk_under_stdout_is_one_line_and_no_success(arguments, json):
    ended = shell('"$@" >/dev/full', [*arguments, *json])
    assert ended.returncode == 3
    assert ended.stderr.splitlines() == [
        "error: stdout: No space left on device; what the command did is kept, "
        "only its output is cut off"
    ]


def test_streams_that_are_closed_from_the_start_are_missed_by_nobody(arguments, tmp_path):
    assert shell('"$@" <&- >&- 2>&-', arguments).returncode == 0
    assert len(load(str(tmp_path / "out"))) == ITEMS
    pruning = ["ledger", "prune", str(tmp_path / "out"), "--before", "2100-01-01"]
    ended = shell('"$@" <&-', pruning)
    assert (ended.returncode, ended.stderr) == (
        2,
        "error: ledger prune: nobody to ask; --yes deletes them without asking\n",
    )
