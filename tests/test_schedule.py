"""The README's schedules in real processes: server, work pool, worker, and a growing folder."""

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import httpx
import pytest
import yaml
from PIL import Image

from tests.servers import free_port
from vision_pipeline.emulator.server import RunningEmulator, running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue

ROOT = Path(__file__).parent.parent
BASH = shutil.which("bash") or "/bin/bash"
# Processes start by the dozen: minutes on two cores, and more where others need them.
pytestmark = pytest.mark.skipif(
    "VISION_PIPELINE_LONG_TESTS" not in os.environ,
    reason="takes minutes: set VISION_PIPELINE_LONG_TESTS=1",
)

GIVE_UP_S = 240.0  # two shared cores may be slow; nothing here waits for a fixed time
SECTION = (ROOT / "README.md").read_text("utf-8").split("### On a schedule\n")[1].split("\n## ")[0]


def eventually(is_so: Callable[[], object]) -> None:
    """Look again and again until it is so."""
    ends_s = monotonic() + GIVE_UP_S
    while not is_so():
        assert monotonic() < ends_s, "it never came to be"
        threading.Event().wait(0.3)


def typed() -> dict[str, str]:
    """What the README has typed into each terminal, in order."""
    [block] = re.findall(r"```\n(# terminal 1\n.*?)```", SECTION, re.DOTALL)
    parts = re.split(r"^# terminal (\d)\n", block, flags=re.MULTILINE)[1:]
    assert parts[::2] == ["1", "2", "3", "2"]
    return dict(zip(("server", "deploy", "worker", "doctor"), parts[1::2], strict=True))


class Project:
    """A folder as a user has it, and processes in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        self.environment = inherited | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_HOME": str(folder / "prefect-home"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        }

    def type(self, commands: str) -> subprocess.Popen[bytes]:
        """Commands as they stand, in a shell of their own; only the port is another."""
        with (self.folder / "terminal.log").open("ab") as log:
            process = subprocess.Popen(
                [BASH, "-ec", commands.replace("4200", str(self.port))],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self.processes):
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, number)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(20)

    def api(self, path: str, **document: object):
        url = f"{self.environment['PREFECT_API_URL']}/{path}"
        answer = httpx.post(url, json=document) if document else httpx.get(url)
        return answer.raise_for_status().json()

    def is_up(self) -> bool:
        try:
            return bool(self.api("health"))
        except httpx.HTTPError:
            return False

    def runs(self, deployment: str) -> list[dict]:
        """Its flow runs that have begun, oldest first."""
        found = self.api(
            "flow_runs/filter", deployments={"name": {"any_": [deployment]}}, sort="START_TIME_ASC"
        )
        return [run for run in found if run["start_time"]]

    def answered(self, deployment: str) -> list[int]:
        """How many answers each of its completed runs brought; runs with nothing to do left out."""
        messages = [run["state"]["message"] or "" for run in self.runs(deployment)]
        found = [re.match(r"(\d+) answered, 0 errors", message) for message in messages]
        return [int(each[1]) for each in found if each]

    def write_recipe(self, name: str, emulator: RunningEmulator, **more: object) -> None:
        recipe = {
            "name": name,
            "source": {"path": "images"},
            "prompt": "configs/prompt.md",
            "model": {"provider": "emulator", "base_url": f"{emulator.base_url}/v1"},
            "image": {"strip_metadata": False},  # so that files are sent as they are
            "output": {"path": f"data/outputs/{name}"},
        } | more
        (self.folder / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(recipe))

    def draw(self, name: str, colour: int, *, folder: str = "images") -> None:
        draft = self.folder / f"{name}.draft"
        Image.new("RGB", (32, 32), (colour, 90, 120)).save(draft, "PNG")
        draft.rename(self.folder / folder / f"{name}.png")

    def assert_every_image_has_its_answer(
        self, name: str, emulator: RunningEmulator, *, folder: str = "images"
    ) -> None:
        given = {}
        for request in emulated(emulator, "requests"):
            chunk = request["body"]["messages"][0]["content"][-1]["image_url"]
            data = (chunk if isinstance(chunk, str) else chunk["url"]).partition(",")[2]
            digest = hashlib.sha256(base64.b64decode(data)).hexdigest()
            given[digest] = request["reply"]["choices"][0]["message"]["content"]
        rows = load(str(self.folder / "data/outputs" / name))
        files = list((self.folder / folder).iterdir())
        assert len(rows) == len(files)
        assert dict(zip(rows["item_id"], rows["answer"], strict=True)) == {
            file.name: given[hashlib.sha256(file.read_bytes()).hexdigest()] for file in files
        }


def emulated(emulator: RunningEmulator, what: str):
    return httpx.get(f"{emulator.base_url}/_emulator/{what}").json()


def served(emulator: RunningEmulator) -> int:
    return int(emulated(emulator, "stats")["served"])


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """Four images, the project's own prefect.yaml with a schedule of seconds, and a server."""
    folder = tmp_path_factory.mktemp("schedule")
    (folder / "images").mkdir()
    (folder / "configs").mkdir()
    shutil.copy(ROOT / "configs" / "receipts.yaml", folder / "configs")
    (folder / "configs" / "prompt.md").write_text(
        "---\nversion: 1\ndescription: d\nschema: null\n---\nWhat is in this image?"
    )
    deployments = (ROOT / "prefect.yaml").read_text("utf-8")
    assert deployments.count("interval: 60 ") == 1
    (folder / "prefect.yaml").write_text(deployments.replace("interval: 60 ", "interval: 8 "))
    project = Project(folder)
    try:
        for number in range(4):
            project.draw(f"first-{number}", number)
        project.type(typed()["server"])
        eventually(project.is_up)
        yield project
    finally:
        project.stop()


@pytest.fixture
def emulator(request) -> Iterator[RunningEmulator]:
    latency_s = getattr(request, "param", 0.0)
    settings = EmulatorSettings(capture=True, most_captured=1000, latency_s=latency_s)
    with running(settings, load_catalogue()) as emulator:
        yield emulator


def test_scheduled_runs_ask_only_for_what_is_new_in_a_folder_that_grows(project, emulator):
    project.write_recipe("demo", emulator)
    commands = typed()
    assert project.type(commands["deploy"]).wait(GIVE_UP_S) == 0
    worker = project.type(commands["worker"])

    eventually(lambda: served(emulator) >= 4)
    for number in range(3):
        project.draw(f"second-{number}", 10 + number)
    project.draw("first-0", 200)  # changed
    eventually(lambda: served(emulator) >= 8)
    for number in range(2):
        project.draw(f"third-{number}", 20 + number)
    eventually(lambda: sum(project.answered("demo")) >= 10)

    assert sum(project.answered("demo")) == served(emulator) == 10
    assert len(project.answered("demo")) >= 3
    project.assert_every_image_has_its_answer("demo", emulator)
    assert project.type(commands["doctor"]).wait(GIVE_UP_S) == 0
    worker.send_signal(signal.SIGINT)
    worker.wait(GIVE_UP_S)


@pytest.mark.parametrize("emulator", [2.0], indirect=True)
def test_a_cancelled_run_keeps_what_it_paid_for_and_the_next_one_goes_on(project, emulator):
    (project.folder / "images-slow").mkdir()
    for number in range(16):
        project.draw(f"slow-{number}", number, folder="images-slow")
    recipe = {"source": {"path": "images-slow"}, "limits": {"max_in_flight": 2}}
    project.write_recipe("slow", emulator, **recipe)
    serving = project.type("exec vision-pipeline serve configs/slow.yaml --interval 5s")

    eventually(lambda: served(emulator) >= 2 and emulated(emulator, "stats")["in_flight"] == 2)
    [run] = project.runs("slow")
    project.api(f"flow_runs/{run['id']}/set_state", state={"type": "CANCELLING"})  # as the UI does
    eventually(lambda: project.runs("slow")[0]["state_type"] == "CANCELLED")
    assert served(emulator) < 16
    eventually(lambda: sum(project.answered("slow")) >= 16)

    assert emulated(emulator, "stats")["received"] == served(emulator) == 16
    project.assert_every_image_has_its_answer("slow", emulator, folder="images-slow")
    serving.send_signal(signal.SIGINT)
    serving.wait(GIVE_UP_S)
    assert project.api("deployments/name/analyze_images/slow")["paused"]
