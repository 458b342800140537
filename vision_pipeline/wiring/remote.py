"""Shards worked on by other processes: what runs in them, and who gives them their work."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import ParamSpec, Protocol, TypeVar

from vision_pipeline.adapters.clusters.dask import open_dask
from vision_pipeline.adapters.clusters.ray import open_ray
from vision_pipeline.adapters.vision_api.leases import QuotaServer
from vision_pipeline.core.config import ExecutionConfig, LimitsConfig, RunConfig
from vision_pipeline.core.errors import StoppedError
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.budget import unlimited
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.reports import Report, Reporter, add, show
from vision_pipeline.pipeline.run import AnalyzeShard
from vision_pipeline.pipeline.services import Services
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.wiring.services import Wish, open_services
from vision_pipeline.wiring.watch import Watch, watching

P = ParamSpec("P")
T = TypeVar("T")

SHARDS_AT_ONCE = 4  # in a process: their last items do not hold up the first ones of the next
LOOK_S = 2.0  # between reports
_STOPPED = "stopped; the same command goes on from here"

OpenQuota = Callable[[LimitsConfig], QuotaServer | None]


def no_quota_server(_limits: LimitsConfig) -> None:
    """Where no quota is shared."""


class Cluster(Protocol):
    """Processes that can be told to call functions."""

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result, from any process; raises what it raises."""

    async def everywhere(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> list[T]:
        """The function's results, one from each process that is there."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run, as the processes that work for it are told.

    Attributes:
        token: Tells it from other runs, also from an earlier try of the same one.
        api_key: Where it comes from a secret store; else each process has it in its environment.
        open_quota: Opens the server of the shared quota.
    """

    token: str
    run_id: str
    config: RunConfig
    wish: Wish
    open_quota: OpenQuota
    api_key: str | None = field(default=None, repr=False)


class _Session:
    """The services of one run in one process, on an event loop in a thread of their own."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._progress, self._stop = Progress(), Stop()
        self.reporter = Reporter(self._progress)
        self._closing = asyncio.Event()
        self._shards: set[Future[int]] = set()
        self._opened: Future[tuple[Asker, asyncio.AbstractEventLoop]] = Future()
        self._thread = threading.Thread(target=self._run, name="shards", daemon=True)
        self._thread.start()
        self._asker, self._loop = self._opened.result()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    async def _serve(self) -> None:
        job = self._job
        with watching(Watch(self._progress, self._stop)):
            async with open_services(
                job.config,
                job.wish,
                api_key=job.api_key,
                quota_server=job.open_quota(job.config.limits),
            ) as services:
                self._progress.begin(0)
                asker = Asker(services, job.run_id, unlimited())
                self._opened.set_result((asker, asyncio.get_running_loop()))
                await self._closing.wait()

    def analyze(self, shard: int) -> int:
        """Work through a shard; returns how many rows it has."""
        working = asyncio.run_coroutine_threadsafe(analyze_shard(self._asker, shard), self._loop)
        self._shards.add(working)
        try:
            return working.result()
        except CancelledError:
            raise StoppedError(_STOPPED) from None
        finally:
            self._shards.discard(working)

    def stop(self) -> None:
        """Begin nothing new."""
        self._loop.call_soon_threadsafe(self._stop.by_user)

    def close(self) -> None:
        """End what still goes on, and close the services."""
        self.stop()
        for working in list(self._shards):
            working.cancel()
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()


_sessions: dict[str, _Session] = {}
_stopped: set[str] = set()
_changing = threading.Lock()


def analyze_here(job: Job, shard: int) -> tuple[int, Report]:
    """Work through a shard in this process, which opens its services with the first one.

    Returns:
        How many rows it has, and what this process did since its last report.

    Raises:
        RunError: Why the run stops.
    """
    with _changing:
        if job.token in _stopped:
            raise StoppedError(_STOPPED)
        session = _sessions.get(job.token)
        if session is None:
            session = _sessions[job.token] = _Session(job)
    return session.analyze(shard), session.reporter.report()


def report_here(token: str) -> Report | None:
    """What this process did for a run since its last report; None where it did nothing."""
    session = _sessions.get(token)
    return None if session is None else session.reporter.report()


def stop_here(token: str) -> None:
    """Begin nothing new for a run in this process."""
    _stopped.add(token)
    session = _sessions.get(token)
    if session is not None:
        session.stop()


def close_here(token: str) -> None:
    """Close a run's services in this process."""
    _stopped.add(token)
    session = _sessions.pop(token, None)
    if session is not None:
        session.close()


class _Leader:
    """Gives shards to processes, and counts what they tell."""

    def __init__(self, cluster: Cluster, services: Services, job: Job) -> None:
        self._cluster = cluster
        self._services = services
        self._job = job

    async def analyze(self, asker: Asker, shard: int) -> int:
        """Have a shard worked through; returns how many rows it has."""
        progress = self._services.progress
        progress.activity.halt()
        job = replace(self._job, run_id=asker.run_id)
        rows, report = await self._cluster.call(analyze_here, job, shard)
        add(progress, report)
        return rows

    async def look(self) -> None:
        """Count what the processes tell, now and then, until the run is asked to stop."""
        progress, stop = self._services.progress, self._services.stop.requested
        while not stop.is_set():
            try:
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
            except TimeoutError:
                told = await self._cluster.everywhere(report_here, self._job.token)
                reports = [each for each in told if each is not None]
                for report in reports:
                    add(progress, report)
                show(progress, reports)
        await self._cluster.everywhere(stop_here, self._job.token)

    async def close(self) -> None:
        """End the work everywhere."""
        await self._cluster.everywhere(close_here, self._job.token)


@asynccontextmanager
async def open_runner(
    services: Services, wish: Wish, *, open_quota: OpenQuota, api_key: str | None = None
) -> AsyncIterator[AnalyzeShard]:
    """What works on the shards of a run: this process, or others by `execution.runner`.

    Args:
        services: Opened for the run, in the process that plans it and sums it up.
        wish: What is wanted of it.
        open_quota: Called in each of the other processes; pickled by its name.
        api_key: The key where it comes from a secret store.

    Raises:
        ConfigError: The runner's package is not installed.
        WorkersError: Its cluster cannot be reached.
    """
    if services.config.execution.runner == "threads":
        yield analyze_shard
        return
    job = Job(
        token=secrets.token_hex(8),
        run_id="",
        config=services.config,
        wish=replace(wish, holds=False),
        open_quota=open_quota,
        api_key=api_key,
    )
    async with _open_cluster(services.config.execution) as cluster:
        leader = _Leader(cluster, services, job)
        looking = asyncio.create_task(leader.look())
        try:
            yield leader.analyze
        finally:
            looking.cancel()
            await asyncio.wait({looking})
            await leader.close()


def _open_cluster(execution: ExecutionConfig) -> AbstractAsyncContextManager[Cluster]:
    cores = os.cpu_count() or 1
    if execution.runner == "ray":
        return open_ray(
            execution.address,
            workers=execution.workers or (None if execution.address else cores),
            threads=SHARDS_AT_ONCE,
        )
    return open_dask(execution.address, workers=execution.workers or cores, threads=SHARDS_AT_ONCE)
