"""Two doors to one pipeline: in this process alone, or as a Prefect flow in it."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import EndpointError, StoppedError, WaitingError
from vision_pipeline.pipeline.batch.run import cancel_jobs
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.reparse import reparse_shard
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.services import tell_nobody
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.pipeline.stored import reparse
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.results.evaluation.truth import Truth
from vision_pipeline.wiring.backfilling import open_reparse
from vision_pipeline.wiring.remote import OpenQuota, no_quota_server, open_runner
from vision_pipeline.wiring.services import AS_USUAL, Wish, open_services
from vision_pipeline.wiring.tuning import run_trial
from vision_pipeline.wiring.watch import Watch, stop_on_signals, watching

Job = Callable[[], Coroutine[Any, Any, Summary]]
Say = Callable[[str], None]
T = TypeVar("T")


def run_local(
    config: RunConfig,
    wish: Wish = AS_USUAL,
    *,
    progress: Progress,
    stop: Stop,
    say: Say = tell_nobody,
) -> Summary:
    """The job in this process, without Prefect but for a quota that it keeps for several."""
    open_quota: OpenQuota = no_quota_server
    if config.limits.shared.name is not None:
        from flows.quota import quota_server

        open_quota = quota_server

    async def job() -> Summary:
        async with (
            open_services(config, wish, quota_server=open_quota(config.limits)) as services,
            open_runner(services, wish, open_quota=open_quota) as analyze,
        ):
            return await carry_out(services, analyze)

    return watched(job, Watch(progress, stop, stop_on_signals, say=say))


def run_prefect(
    config: RunConfig,
    wish: Wish = AS_USUAL,
    *,
    progress: Progress,
    stop: Stop,
    say: Say = tell_nobody,
) -> Summary:
    """The job as a flow, on the server that is set or on a temporary one."""

    async def job() -> Summary:
        from flows.analyze_images import analyze_images
        from flows.asking import AlertError
        from flows.backfill import backfill
        from flows.batch_jobs import batch_jobs

        outcome: Summary | WaitingError
        try:
            if wish.work == "backfill":
                outcome = await backfill(
                    config,
                    select=wish.selection,
                    fresh=wish.fresh,
                    chunk_items=wish.chunks.items,
                    pause_s=wish.chunks.pause_s,
                    wait=wish.wait,
                )
            elif config.execution.mode == "batch":
                outcome = await batch_jobs(
                    config,
                    select=wish.selection,
                    fresh=wish.fresh,
                    collect_only=not wish.begins,
                    wait_s=wish.patience_s,
                    wait=wish.wait,
                )
            else:
                codes = list(wish.selection.codes)
                outcome = await analyze_images(
                    config, fresh=wish.fresh, retry=codes, wait=wish.wait
                )
        except AlertError as error:  # the exit code and the summary say as much
            return error.summary
        if isinstance(outcome, WaitingError):
            raise outcome
        return outcome

    return _by_prefect(job, Watch(progress, stop, stop_on_signals, say=say))


def run_trial_local(
    config: RunConfig, truth: Truth, *, key: str | None, progress: Progress, stop: Stop
) -> Summary:
    """A run about the items that a truth knows, in this process."""
    return watched(
        lambda: run_trial(config, truth, key=key), Watch(progress, stop, stop_on_signals)
    )


def cancel_local(config: RunConfig, *, progress: Progress, stop: Stop) -> int:
    """Have the provider end the batch jobs of all unfinished runs; returns how many there were."""

    async def job() -> int:
        async with open_services(config, Wish(begins=False, patience_s=math.inf)) as services:
            return await cancel_jobs(services)

    return watched(job, Watch(progress, stop, stop_on_signals))


def reparse_local(
    config: RunConfig, *, wait: bool, progress: Progress, stop: Stop, say: Say
) -> Summary:
    """A reparse in this process, without Prefect."""

    async def job() -> Summary:
        async with open_reparse(config, wait=wait) as services:
            return await reparse(services, reparse_shard)

    return watched(job, Watch(progress, stop, stop_on_signals, say=say))


def reparse_prefect(
    config: RunConfig, *, wait: bool, progress: Progress, stop: Stop, say: Say
) -> Summary:
    """A reparse as the flow `backfill`, on the server that is set or on a temporary one."""

    async def job() -> Summary:
        from flows.backfill import backfill

        return await backfill(config, reparse=True, wait=wait)

    return _by_prefect(job, Watch(progress, stop, stop_on_signals, say=say))


def _by_prefect(job: Job, watch: Watch) -> Summary:
    # What the flow says goes to its server; this terminal has the progress display.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    # The flows come first: their package holds settings that Prefect reads when it is imported.
    from flows.shards import TerminationSignal

    try:
        return watched(job, watch)
    except TerminationSignal:  # before the run was open, or after
        raise StoppedError("stopped; the same command goes on from here") from None
    except RuntimeError as error:
        if watch.progress.total is not None:
            raise
        # The flow did not begin: Prefect has no error of its own for a server that is not there.
        raise EndpointError(f"Prefect: {error} `--engine local` needs no server.") from error


def watched(job: Callable[[], Coroutine[Any, Any, T]], watch: Watch) -> T:
    """What a job comes to, in an event loop of its own.

    Raises:
        StoppedError: A second signal cut off what the first one let finish.
    """
    with watching(watch):
        try:
            return asyncio.run(job())
        except asyncio.CancelledError:
            raise StoppedError("cut off; the same command goes on from here") from None
