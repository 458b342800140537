"""Shards worked on by other processes: the worker's side in this one, and Dask and Ray as used."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from time import sleep

import httpx
import orjson
import pytest
from PIL import Image

from tests.workers import workers_of
from vision_pipeline.adapters.clusters.ray import open_ray
from vision_pipeline.adapters.vision_api.leases import Nobody
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError, StoppedError, WorkersError
from vision_pipeline.emulator.server import RunningEmulator, running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.pipeline.plan import plan_run
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.results import load
from vision_pipeline.wiring import remote
from vision_pipeline.wiring.library import load_catalogue
from vision_pipeline.wiring.remote import (
    Job,
    analyze_here,
    close_here,
    no_quota_server,
    open_runner,
    report_here,
    stop_here,
)
from vision_pipeline.wiring.services import Wish, open_services

ITEMS, IN_FLIGHT, SHARD = 120, 4, 10
PROMPT = "---\nversion: 1\ndescription: d\nschema: null\n---\nWhat is in this image?"
needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="extra [dask]")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="extra [ray]")


@pytest.fixture
def emulator() -> Iterator[RunningEmulator]:
    with running(EmulatorSettings(latency_s=0.1), load_catalogue()) as started:
        yield started


@pytest.fixture
def config(tmp_path: Path, emulator: RunningEmulator) -> RunConfig:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(ITEMS):
        Image.new("RGB", (32, 32), (2 * number, 0, 128)).save(folder / f"{number:03}.png")
    (tmp_path / "p.md").write_text(PROMPT)
    return RunConfig.model_validate(
        {
            "name": "spread",
            "source": {"path": str(folder)},
            "prompt": str(tmp_path / "p.md"),
            "model": {
                "provider": "emulator",
                "engine": "synthetic",
                "base_url": f"{emulator.base_url}/v1",
            },
            "limits": {
                "requests_per_minute": 6000,
                "tokens_per_minute": 10**9,
                "max_in_flight": IN_FLIGHT,
                "shared": {"name": "spread", "share": 0.5},
            },
            "execution": {"runner": "dask", "workers": 2},
            "output": {"path": str(tmp_path / "out"), "shard_size": SHARD},
        }
    )


def paid_calls(emulator: RunningEmulator) -> int:
    """Those that a provider may bill: also calls that were dropped before their answer."""
    stats = httpx.get(f"{emulator.base_url}/_emulator/stats").json()
    return int(stats["served"] + stats["abandoned"])


class Threads:
    """A cluster of one process, this one."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def call(self, function, *args):
        self.called.append(function.__name__)
        return await asyncio.to_thread(function, *args)

    async def everywhere(self, function, *args):
        return [await self.call(function, *args)]

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass


@pytest.fixture
def threads(monkeypatch) -> Threads:
    cluster = Threads()
    monkeypatch.setattr(remote, "_open_cluster", lambda _: cluster)
    monkeypatch.setattr(remote, "LOOK_S", 0.05)
    return cluster


async def carried_out(config):
    wish = Wish()
    async with (
        open_services(config, wish) as services,
        open_runner(services, wish, open_quota=no_quota_server) as analyze,
    ):
        return services, await carry_out(services, analyze)


async def test_shards_are_analyzed_elsewhere_and_summed_up_here(config, threads, emulator):
    services, summary = await carried_out(config)
    assert (summary.ok, summary.calls) == (ITEMS, ITEMS)
    assert services.progress.done == ITEMS
    assert summary.traffic["sent"] == ITEMS
    assert summary.traffic["most_in_flight"] == IN_FLIGHT
    assert summary.seconds_by_stage
    assert threads.called.count("analyze_here") == ITEMS / SHARD
    assert "report_here" in threads.called
    assert threads.called[-1] == "close_here"
    assert remote._sessions == {}
    assert threading.active_count() < 30


async def test_a_process_opens_its_services_once_for_all_shards(config, threads, monkeypatch):
    opened = []

    def open_quota(limits):
        opened.append(limits)
        return Nobody()

    async with (
        open_services(config) as services,
        open_runner(services, Wish(), open_quota=open_quota) as analyze,
    ):
        await carry_out(services, analyze)
    assert opened == [config.limits]


async def test_a_run_that_is_stopped_begins_nothing_more_and_goes_on_later(
    config, threads, emulator
):
    async def stopped():
        async with (
            open_services(config) as services,
            open_runner(services, Wish(), open_quota=no_quota_server) as analyze,
        ):
            asyncio.get_running_loop().call_later(1.0, services.stop.by_user)
            await carry_out(services, analyze)

    with pytest.raises(StoppedError):
        await stopped()
    paid = paid_calls(emulator)
    assert 0 < paid < ITEMS
    _, summary = await carried_out(config)
    assert (summary.ok, summary.resumed) == (ITEMS, True)
    assert paid_calls(emulator) == ITEMS


@pytest.fixture
async def job(config) -> Job:
    """A planned run, and what its workers are told."""
    async with open_services(config) as services:
        run = plan_run(services, now=datetime.now(UTC), token=secrets.token_hex(2))
    return Job("token", run.run_id, config, Wish(holds=False), no_quota_server)


@pytest.fixture
def forgotten() -> Iterator[None]:
    yield
    remote._stopped.clear()


async def test_after_a_stop_a_process_takes_no_shard(job, forgotten):
    rows, report = await asyncio.to_thread(analyze_here, job, 0)
    assert rows == report.counts["worked"] == SHARD
    assert report_here(job.token).counts["worked"] == 0
    stop_here(job.token)
    with pytest.raises(StoppedError):
        await asyncio.to_thread(analyze_here, job, 1)
    await asyncio.to_thread(close_here, job.token)
    assert report_here(job.token) is None


def until_in_flight(token):
    while (report := report_here(token)) is None or not report.in_flight:
        sleep(0.01)


async def test_what_still_goes_on_at_the_close_is_ended(job, forgotten):
    working = asyncio.ensure_future(asyncio.to_thread(analyze_here, job, 0))
    await asyncio.to_thread(until_in_flight, job.token)
    await asyncio.to_thread(close_here, job.token)
    with pytest.raises(StoppedError):
        await working


def test_a_process_that_did_nothing_has_nothing_to_tell(forgotten):
    assert report_here("nobody") is None
    close_here("nobody")
    stop_here("nobody")


async def test_services_that_cannot_be_opened_are_the_shards_error(job, forgotten):
    missing = job.config.model_copy(update={"prompt": "nothing_like_it"})
    broken = Job("other", job.run_id, missing, job.wish, no_quota_server)
    with pytest.raises(ConfigError, match="nothing_like_it"):
        await asyncio.to_thread(analyze_here, broken, 0)
    assert "other" not in remote._sessions


def test_a_key_from_a_secret_store_is_shown_nowhere(config):
    assert "k3y" not in repr(Job("t", "r", config, Wish(), no_quota_server, api_key="k3y"))


@pytest.mark.parametrize(
    ("runner", "package"), [("dask", "distributed"), ("ray", "ray")], ids=["dask", "ray"]
)
async def test_a_runner_that_is_not_installed_is_a_message(config, runner, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    execution = config.execution.model_copy(update={"runner": runner})
    with pytest.raises(ConfigError, match=rf"needs the extra \[{runner}\]"):
        await carried_out(config.model_copy(update={"execution": execution}))


class Command:
    """`vision-pipeline run` in a process of its own."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        recipe = folder / "r.yaml"
        recipe.write_bytes(orjson.dumps(config.model_dump(mode="json", exclude_defaults=True)))
        program = "from vision_pipeline.cli.app import main; main()"
        command = [sys.executable, "-c", program, "run", str(recipe), "--engine", "local", "--json"]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PREFECT_API_URL": "", "PREFECT_HOME": str(folder / "prefect")},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def ended(self) -> tuple[int, dict, str]:
        out, err = self._process.communicate(timeout=120)
        return self._process.returncode, orjson.loads(out or "{}"), err.decode()


def assert_whole(config: RunConfig, summary: dict) -> None:
    rows = load(config.output.path)
    assert len(rows) == rows["item_id"].nunique() == summary["ok"] == ITEMS


@pytest.mark.parametrize(
    "runner", [pytest.param("dask", marks=needs_dask), pytest.param("ray", marks=needs_ray)]
)
def test_shards_are_spread_over_workers_and_one_that_is_killed_loses_nothing(
    config, tmp_path, emulator, runner
):
    execution = config.execution.model_copy(update={"runner": runner})
    config = config.model_copy(update={"execution": execution})
    command = Command(config, tmp_path)
    while len(busy := workers_of(command.pid)) < 2:
        assert command.is_running
        sleep(0.05)
    os.kill(busy[0], signal.SIGKILL)
    code, summary, err = command.ended()
    assert (code, "Traceback" in err) == (0, False), err
    assert_whole(config, summary)
    # Those on the wire, and those whose replies were on their way to the disk.
    assert paid_calls(emulator) <= ITEMS + 2 * IN_FLIGHT


@needs_dask
async def test_a_scheduler_that_is_not_there_is_a_message(config, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.clusters.dask.CONNECT_TIMEOUT_S", 1)
    execution = {"runner": "dask", "address": "tcp://127.0.0.1:9"}
    changed = RunConfig.model_validate(config.model_dump() | {"execution": execution})
    with pytest.raises(WorkersError, match="no Dask scheduler"):
        await carried_out(changed)


@needs_ray
def test_ray_spreads_shards_over_its_actors(config, tmp_path, emulator):
    execution = config.execution.model_copy(update={"runner": "ray"})
    command = Command(config.model_copy(update={"execution": execution}), tmp_path)
    code, summary, err = command.ended()
    assert (code, "Traceback" in err) == (0, False), err
    assert_whole(config, summary)
    assert summary["calls"] == paid_calls(emulator) == ITEMS


class TalkativeRay:
    """Ray as far as it starts its actors, and prints what befalls them."""

    def init(self, **_: object) -> None:
        sys.stdout.write("(raylet) A worker died\n")

    def remote(self, *_: object) -> "TalkativeRay":
        return self

    def options(self, **_: object) -> "TalkativeRay":
        return self

    def shutdown(self) -> None:
        sys.stdout.write("(raylet) The rest ended\n")


async def test_what_ray_prints_of_its_workers_is_not_among_the_results(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", TalkativeRay())
    async with open_ray(None, workers=2, threads=1):
        pass
    sys.stdout.write("results")
    out, err = capsys.readouterr()
    assert (out, err.count("(raylet)")) == ("results", 2)
