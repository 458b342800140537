"""Clusters as a run uses them: Dask's in this process, Ray's by a stand-in."""

import asyncio
import sys
from concurrent.futures import CancelledError
from types import ModuleType, SimpleNamespace

import pytest

from vision_pipeline.adapters.clusters.dask import DaskCluster, open_dask
from vision_pipeline.adapters.clusters.ray import open_ray
from vision_pipeline.core.errors import StoppedError, WorkersError


def double(number):
    return 2 * number


def refuse(_number):
    raise StoppedError("no more")


# Dask's sockets and loops are left to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Port 8787")  # another cluster may run on this machine
async def test_a_scheduler_at_an_address_gets_the_calls():
    distributed = pytest.importorskip("distributed")
    workers = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        dashboard_address=None,
        asynchronous=True,
    )
    async with (
        workers,
        open_dask(workers.scheduler_address, workers=9, threads=9) as cluster,
    ):
        assert await asyncio.gather(*(cluster.call(double, each) for each in range(5))) == [
            0,
            2,
            4,
            6,
            8,
        ]
        assert await cluster.everywhere(double, 4) == [8, 8]
        with pytest.raises(StoppedError, match="no more"):
            await cluster.call(refuse, 1)


async def test_a_worker_of_dask_that_is_killed_again_and_again_is_a_message():
    class Client:
        async def submit(self, *_args, **_options):
            raise MemoryError("killed")

    with pytest.raises(WorkersError, match="again and again"):
        await DaskCluster(Client(), MemoryError).call(double, 1)


async def test_a_scheduler_that_is_gone_is_a_message():
    class Client:
        async def submit(self, *_args, **_options):
            raise CancelledError

        async def run(self, *_args, **_options):
            raise OSError("closed")

    cluster = DaskCluster(Client(), MemoryError)
    with pytest.raises(WorkersError, match="scheduler is gone"):
        await cluster.call(double, 1)
    assert await cluster.everywhere(double, 1) == []


class FakeRay(ModuleType):
    """What of Ray is used, in this process: actors whose methods give awaitables.

    Attributes:
        is_there: Whether a cluster answers.
        doomed: Numbers of actors that end with each call.
        calls: By the number of the actor.
    """

    def __init__(self):
        super().__init__("ray")
        self.is_there, self.doomed, self.calls, self.options = True, set(), [], {}
        self.exceptions = SimpleNamespace(
            RayTaskError=self.TaskError, RayActorError=self.ActorError
        )

    class TaskError(Exception):
        def __init__(self, cause):
            self.cause = cause

    class ActorError(Exception):
        pass

    def init(self, **options):
        self.options = options
        if not self.is_there:
            raise ConnectionError("nobody there")

    def shutdown(self):
        self.options = None

    def cluster_resources(self):
        return {"CPU": 3.0}

    def remote(self, made):
        return SimpleNamespace(
            options=lambda **_: SimpleNamespace(remote=lambda: self._actor(made))
        )

    def _actor(self, made):
        number, actor = len(self.calls), made()
        self.calls.append(0)

        async def call(function, *args):
            self.calls[number] += 1
            await asyncio.sleep(0)
            if number in self.doomed:
                raise self.ActorError("it died")
            try:
                return actor.call(function, *args)
            except StoppedError as error:
                raise self.TaskError(error) from error

        return SimpleNamespace(call=SimpleNamespace(remote=call))


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


async def test_calls_go_to_the_least_busy_actor(ray):
    async with open_ray(None, workers=2, threads=4) as cluster:
        assert ray.options["num_cpus"] == 2
        assert await asyncio.gather(*(cluster.call(double, each) for each in range(4))) == [
            0,
            2,
            4,
            6,
        ]
        assert ray.calls == [2, 2]
        with pytest.raises(StoppedError):
            await cluster.call(refuse, 1)
    assert ray.options is None


async def test_a_cluster_at_an_address_has_an_actor_for_each_of_its_cpus(ray):
    async with open_ray("ray://10.0.0.5:10001", workers=None, threads=4) as cluster:
        assert "num_cpus" not in ray.options
        assert await cluster.everywhere(double, 1) == [2, 2, 2]
        ray.doomed = {1}
        assert await cluster.everywhere(double, 1) == [2, 2]


async def test_an_actor_that_ends_again_and_again_is_a_message(ray):
    async with open_ray(None, workers=1, threads=4) as cluster:
        ray.doomed = {0}
        with pytest.raises(WorkersError, match="again and again"):
            await cluster.call(double, 1)


async def test_a_ray_cluster_that_is_not_there_is_a_message(ray):
    ray.is_there = False
    with pytest.raises(WorkersError, match="no Ray cluster: nobody there"):
        async with open_ray("ray://10.0.0.5:10001", workers=None, threads=4):
            pass
