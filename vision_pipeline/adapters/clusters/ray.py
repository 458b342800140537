"""Actors of Ray."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, redirect_stdout
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from vision_pipeline.core.errors import ConfigError, WorkersError

P = ParamSpec("P")
T = TypeVar("T")

RESTARTS = 3  # of an actor, and of a call whose actor has ended


class _Worker:
    """Calls functions in a process of its own."""

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)


class RayCluster:
    """Calls functions in Ray's actors, each in the least busy one.

    A call whose actor ends is made again, three times at most.

    Args:
        ray: The package.
        actors: Of `_Worker`.
    """

    def __init__(self, ray: Any, actors: list[Any]) -> None:  # noqa: ANN401  (not always there)
        self._ray = ray
        self._busy = [0] * len(actors)
        self._actors = actors

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result, from any actor; raises what it raises, and WorkersError."""
        number = self._busy.index(min(self._busy))
        self._busy[number] += 1
        try:
            result: T = await self._actors[number].call.remote(function, *args, **kwargs)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayActorError as error:
            raise WorkersError(
                f"execution: the worker was killed again and again: {error}; the same command goes "
                "on from here"
            ) from error
        finally:
            self._busy[number] -= 1
        return result

    async def everywhere(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> list[T]:
        """The function's results, one from each actor that is there."""
        calls = (actor.call.remote(function, *args, **kwargs) for actor in self._actors)
        found = await asyncio.gather(*calls, return_exceptions=True)
        return [each for each in found if not isinstance(each, BaseException)]


@asynccontextmanager
async def open_ray(
    address: str | None, *, workers: int | None, threads: int
) -> AsyncIterator[RayCluster]:
    """Connect to a Ray cluster, or start one on this machine and end it afterwards.

    Meanwhile what is printed to stdout goes to stderr.

    Args:
        address: Of the cluster, such as `ray://10.0.0.5:10001`; None for one here.
        workers: Actors to start; None for as many as it has CPUs.
        threads: Calls at once in each of them.

    Raises:
        ConfigError: The extra is not installed.
        WorkersError: Nobody answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        ray: Any = import_module("ray")
    except ModuleNotFoundError:
        raise ConfigError(
            "execution.runner: ray needs the extra [ray]: pip install -c constraints.txt '.[ray]'"
        ) from None
    local = {"num_cpus": workers, "include_dashboard": False} if address is None else {}
    with redirect_stdout(sys.stderr):  # Ray prints that a worker died; stdout is for results
        try:
            await asyncio.to_thread(
                ray.init,
                address=address or "local",
                logging_level=logging.CRITICAL,
                log_to_driver=False,
                **local,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise WorkersError(f"execution.address: {address}: no Ray cluster: {error}") from error
        try:
            count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
            made = ray.remote(_Worker).options(
                max_restarts=RESTARTS,
                max_task_retries=RESTARTS,
                max_concurrency=threads + 1,  # one for who looks in
                num_cpus=1,
            )
            yield RayCluster(ray, [made.remote() for _ in range(count)])
        finally:
            await asyncio.to_thread(ray.shutdown)
