"""Worker processes of Dask."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from vision_pipeline.core.errors import ConfigError, WorkersError

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_TIMEOUT_S = 30


class DaskCluster:
    """Calls functions in Dask's workers, each in the least busy one.

    A call whose worker ends is made again in another one, three times at most.

    Args:
        client: Asynchronous.
        killed: The error of a call whose workers have ended again and again.
    """

    def __init__(self, client: Any, killed: type[Exception]) -> None:  # noqa: ANN401  (no types)
        self._client = client
        self._killed = killed

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result, from any worker; raises what it raises, and WorkersError."""
        try:
            result: T = await self._client.submit(function, *args, pure=False, **kwargs)
        except self._killed as error:
            raise WorkersError(
                f"execution: the worker was killed again and again: {error}; the same command goes "
                "on from here"
            ) from error
        except CancelledError as error:
            raise WorkersError(
                "execution: the Dask scheduler is gone; the same command goes on from here"
            ) from error
        return result

    async def everywhere(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> list[T]:
        """The function's results, one from each worker that is there."""
        try:
            found = await self._client.run(function, *args, on_error="ignore", **kwargs)
        except (OSError, RuntimeError):  # the scheduler is gone, which the calls tell
            return []
        return list(found.values())


@asynccontextmanager
async def open_dask(
    address: str | None, *, workers: int, threads: int
) -> AsyncIterator[DaskCluster]:
    """Connect to a scheduler, or start workers on this machine and end them afterwards.

    Args:
        address: Of the scheduler, such as `tcp://10.0.0.5:8786`; None for workers here.
        workers: Processes to start here.
        threads: Calls at once in each of them.

    Raises:
        ConfigError: The extra is not installed.
        WorkersError: Nobody answers at the address.
    """
    try:
        distributed = import_module("distributed")
    except ModuleNotFoundError:
        raise ConfigError(
            "execution.runner: dask needs the extra [dask]: "
            "pip install -c constraints.txt '.[dask]'"
        ) from None
    async with AsyncExitStack() as stack:
        scheduler: Any = address
        if address is None:
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=threads,
                dashboard_address=None,
                memory_limit=0,  # its own limit would end workers for what their decoders take
                silence_logs=logging.CRITICAL,
                asynchronous=True,
            )
            scheduler = await stack.enter_async_context(cluster)
        try:
            connecting = distributed.Client(scheduler, asynchronous=True, timeout=CONNECT_TIMEOUT_S)
            client = await stack.enter_async_context(connecting)
        except (OSError, ValueError) as error:
            raise WorkersError(
                f"execution.address: {address}: no Dask scheduler: {error}"
            ) from error
        yield DaskCluster(client, distributed.KilledWorker)
