"""Two commands at one output: the second is told, waits, or is stopped."""

import asyncio

import pytest

from vision_pipeline.adapters.lock import NoLocksError, ProcessLock
from vision_pipeline.adapters.lock.heartbeat import OBJECT_NAME
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.core.errors import BusyError, StoppedError
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.results import load
from vision_pipeline.wiring import holding as module
from vision_pipeline.wiring.holding import holding
from vision_pipeline.wiring.services import Wish, open_services
from vision_pipeline.wiring.watch import Watch, watching


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    root = {"disk": str(tmp_path / "out"), "memory": f"memory:/{tmp_path}/out"}[request.param]
    folder = OutputFolder(root)
    folder.check_writable()
    return folder


def watch():
    return Watch(Progress(), Stop())


async def test_the_second_command_is_told_who_holds_the_folder_and_what_to_do(folder):
    async with holding(folder, watch(), work="run of receipts", wait=False) as announce:
        announce("r1")
        with pytest.raises(BusyError) as refused:
            async with holding(folder, watch(), work="run of b", wait=False):
                pytest.fail("two hold it")
    told = str(refused.value)
    assert refused.value.exit_code == 3
    assert f"{folder.root}: held by run of receipts (r1), process " in told
    assert all(advice in told for advice in ("--wait", "kill -INT", "--output"))


async def test_a_folder_is_free_again_also_after_a_failure(folder):
    with pytest.raises(ZeroDivisionError):
        async with holding(folder, watch(), work="run of a", wait=False):
            raise ZeroDivisionError
    async with holding(folder, watch(), work="run of b", wait=False):
        pass


async def test_a_command_that_waits_comes_after_the_first(folder, monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    waiting, order = watch(), []

    async def second():
        async with holding(folder, waiting, work="run of b", wait=True):
            order.append("second")

    async with holding(folder, watch(), work="run of a", wait=False):
        task = asyncio.create_task(second())
        while not waiting.progress.waits_for:  # noqa: ASYNC110  (as a display reads it)
            await asyncio.sleep(0)
        assert "run of a" in waiting.progress.waits_for
        order.append("first")
    await task
    assert order == ["first", "second"]
    assert waiting.progress.waits_for == ""


async def test_a_command_that_waits_can_be_stopped(folder):
    async with holding(folder, watch(), work="run of a", wait=False):
        stopped = watch()
        stopped.stop.by_user()
        with pytest.raises(StoppedError):
            async with holding(folder, stopped, work="run of b", wait=True):
                pytest.fail("two hold it")


async def test_who_loses_the_folder_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.lock.heartbeat.FIRST_BEAT_S", 0.05)
    folder, loser = OutputFolder(f"memory:/{tmp_path}/out"), watch()
    async with holding(folder, loser, work="run of a", wait=False):
        content = folder.read_bytes(OBJECT_NAME)
        taken = content.replace(b"run of a", b"run of b").replace(b'"mark": "', b'"mark": "x')
        folder.filesystem.pipe_file(folder.path(OBJECT_NAME), taken)
        await asyncio.wait_for(loser.stop.requested.wait(), 30)
    assert isinstance(loser.stop.cause, BusyError)
    assert "taken over while this machine paused, by run of b" in str(loser.stop.cause)
    assert folder.exists(OBJECT_NAME)  # it is the other one's now


async def test_a_mount_without_locks_is_held_by_heartbeats(tmp_path, monkeypatch):
    def refuse(_lock, _owner):
        raise NoLocksError

    monkeypatch.setattr(ProcessLock, "try_take", refuse)
    folder = OutputFolder(str(tmp_path))
    async with holding(folder, watch(), work="run of a", wait=False):
        assert folder.exists(OBJECT_NAME)
        with pytest.raises(BusyError, match="run of a"):
            async with holding(folder, watch(), work="run of b", wait=False):
                pytest.fail("two hold it")
    assert not folder.exists(OBJECT_NAME)


async def test_of_two_runs_at_one_output_one_is_refused_and_the_other_finishes(recipe):
    async with open_services(recipe) as services:
        with pytest.raises(BusyError, match="run of pictures"):
            async with open_services(recipe):
                pytest.fail("two write")
        async with open_services(recipe, asks=False):
            pass  # who only looks is not kept out
        summary = await carry_out(services, analyze_shard)
    assert summary.ok == 4


async def test_a_run_that_waits_finds_everything_answered(recipe):
    async def run(progress, wish):
        with watching(Watch(progress, Stop())):
            async with open_services(recipe, wish) as services:
                return await carry_out(services, analyze_shard)

    first, second = await asyncio.gather(run(Progress(), Wish()), run(Progress(), Wish(wait=True)))
    assert {first.calls, second.calls} == {0, 4}
    assert len(load(recipe.output.path, runs="all")) == 4


async def test_a_run_removes_the_drafts_of_a_killed_one(recipe, tmp_path):
    draft = tmp_path / "out" / "manifests" / ".r0.parquet.draft"
    draft.parent.mkdir(parents=True)
    draft.write_bytes(b"half")
    async with open_services(recipe):
        assert not draft.exists()
