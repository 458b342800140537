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

GIVE_UP_S = 600.0  # two shared cores may be slow; nothing here waits for a fixed time
ANSWER_S = 60.0  # a busy server takes its time over one request
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
            "PREFECT_CLI_PROMPT": "true",  # as on a terminal; here a question ends the command
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
        method = "POST" if document else "GET"
        answer = httpx.request(method, url, json=document or None, timeout=ANSWER_S)
        return answer.raise_for_status().json()

    def is_up(self) -> bool:
        try:
            return bool(self.api("health"))
        except httpx.HTTPError:
            return False

    def runs(self, deployment: str) -> list[dict]:
        """Its flow runs that have begun, oldest first."""
        return self.api(
            "flow_runs/filter",
            deployments={"name": {"any_": [deployment]}},
            flow_runs={"start_time": {"is_null_": False}},
            sort="START_TIME_ASC",
        )

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
    return httpx.get(f"{emulator.base_url}/_emulator/{what}", timeout=ANSWER_S).json()


def served(emulator: RunningEmulator) -> int:
    return int(emulated(emulator, "stats")["served"])


@pytest.fixture
def project(tmp_path) -> Iterator[Project]:
    """Four images, the project's own prefect.yaml with a schedule of seconds, and a server."""
    folder = tmp_path
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


class SlowDeployment:
    """Of a recipe whose runs can be ended half way."""

    IMAGES = 40
    IN_FLIGHT = 2

    def __init__(self, project: Project, emulator: RunningEmulator) -> None:
        self.project = project
        self.emulator = emulator
        (project.folder / "images-slow").mkdir()
        for number in range(self.IMAGES):
            project.draw(f"slow-{number}", number, folder="images-slow")
        recipe = {
            "source": {"path": "images-slow"},
            "limits": {"max_in_flight": self.IN_FLIGHT},
            "output": {"path": "data/outputs/slow", "shard_size": 4},
        }
        project.write_recipe("slow", emulator, **recipe)

    def is_half_way(self) -> bool:
        on_the_wire = emulated(self.emulator, "stats")["in_flight"]
        return served(self.emulator) >= 6 and on_the_wire == self.IN_FLIGHT

    def first_run(self) -> dict:
        return self.project.runs("slow")[0]

    def deploy(self) -> None:
        """As the README does, and with the shortest heartbeat that Prefect has."""
        file = self.project.folder / "prefect.yaml"
        deployments = file.read_text("utf-8")
        for old, new in {
            "name: demo\n": "name: slow\n",
            "configs/demo.yaml": "configs/slow.yaml",
            'HEARTBEAT_FREQUENCY: "60"': 'HEARTBEAT_FREQUENCY: "30"',
        }.items():
            assert deployments.count(old) == 1
            deployments = deployments.replace(old, new)
        file.write_text(deployments, "utf-8")
        assert self.project.type(typed()["deploy"]).wait(GIVE_UP_S) == 0

    def assert_next_run_completes_it(self) -> None:
        eventually(lambda: self.project.answered("slow"))
        assert served(self.emulator) <= self.IMAGES + self.IN_FLIGHT  # paid again: on the wire
        self.project.assert_every_image_has_its_answer("slow", self.emulator, folder="images-slow")


slow_emulator = pytest.mark.parametrize("emulator", [2.0], indirect=True)


@slow_emulator
def test_a_cancelled_run_keeps_what_it_paid_for_and_the_next_one_goes_on(project, emulator):
    slow = SlowDeployment(project, emulator)
    serving = project.type("exec vision-pipeline serve configs/slow.yaml --interval 5s")

    eventually(slow.is_half_way)
    path = f"flow_runs/{slow.first_run()['id']}/set_state"
    project.api(path, state={"type": "CANCELLING"})  # as the UI does
    eventually(lambda: slow.first_run()["state_type"] == "CANCELLED")
    assert served(emulator) < slow.IMAGES
    slow.assert_next_run_completes_it()

    assert emulated(emulator, "stats")["received"] == served(emulator) == slow.IMAGES
    serving.send_signal(signal.SIGINT)
    serving.wait(GIVE_UP_S)
    assert project.api("deployments/name/analyze_images/slow")["paused"]


@slow_emulator
def test_a_killed_run_ends_as_crashed_at_once_and_the_next_one_goes_on(project, emulator):
    slow = SlowDeployment(project, emulator)
    slow.deploy()
    project.type(typed()["worker"])

    eventually(slow.is_half_way)
    kill_process_of(slow.first_run())
    eventually(lambda: slow.first_run()["state_type"] == "CRASHED")
    slow.assert_next_run_completes_it()


@slow_emulator
def test_a_run_killed_with_its_worker_ends_as_crashed_by_the_automation(project, emulator):
    slow = SlowDeployment(project, emulator)
    slow.deploy()
    shorten_silence(project)
    worker = project.type(typed()["worker"])

    eventually(slow.is_half_way)
    os.killpg(worker.pid, signal.SIGKILL)
    kill_process_of(slow.first_run())
    project.type(typed()["worker"])
    eventually(lambda: slow.first_run()["state_type"] == "CRASHED")
    assert slow.first_run()["state"]["message"].startswith("Its process was killed")
    slow.assert_next_run_completes_it()


def kill_process_of(run: dict) -> None:
    process = int(run["infrastructure_pid"].split(":")[-1])
    with suppress(ProcessLookupError):  # went with its worker
        os.kill(process, signal.SIGKILL)


def shorten_silence(project: Project) -> None:
    """Of the automation that ends killed runs: three heartbeats instead of five minutes."""
    name = {"name": {"any_": ["End killed runs of vision-pipeline"]}}
    [automation] = project.api("automations/filter", automations=name)
    assert automation["trigger"]["within"] == 300
    automation["trigger"]["within"] = 90
    kept = {key: automation[key] for key in ("name", "trigger", "actions", "enabled")}
    url = f"{project.environment['PREFECT_API_URL']}/automations/{automation['id']}"
    httpx.put(url, json=kept, timeout=ANSWER_S).raise_for_status()
