"""A planned run, worked through shard by shard, and summed up."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Protocol

from vision_pipeline.core.activity import Stage
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.batch.run import asker_after_batches, check_jobs, forget_finished
from vision_pipeline.pipeline.budget import budget_of, unlimited
from vision_pipeline.pipeline.plan import Run, plan_run
from vision_pipeline.pipeline.prospect import prospect
from vision_pipeline.pipeline.services import BaseServices, Services
from vision_pipeline.pipeline.summary import Summary, sum_up

# Shards that wait for their slowest items while later ones are worked on; their rows are in memory.
LEAST_OPEN_SHARDS = 16
_OPEN_ITEMS = 3  # times what may be in flight: of small shards more are open

log = logging.getLogger(__name__)

AnalyzeShard = Callable[[Asker, int], Awaitable[int]]
DoShard = Callable[[int], Awaitable[int]]


class PlanRun(Protocol):
    """Goes on with the run that was cut off, or freezes a new one; blocks: for threads."""

    def __call__(self, *, now: datetime, token: str) -> Run:
        """As `plan_run`."""


async def carry_out(services: Services, analyze: AnalyzeShard) -> Summary:
    """The whole job: plan, analyze, sum up.

    Args:
        services: Opened for this run.
        analyze: Does one shard; an engine may wrap it.

    Raises:
        RunError: Why it could not begin or stopped early; the same command goes on.
    """

    async def ready(run: Run) -> DoShard:
        return partial(analyze, await _asker_of(services, run))

    def plan(*, now: datetime, token: str) -> Run:
        run = plan_run(services, now=now, token=token)
        if not services.selection.is_all:
            told = prospect(services, run)
            log.info("selected: %s", told, extra={"run_id": run.run_id} if run.items else {})
            services.say(told)
        return run

    summary = await accomplish(services, plan, ready)
    await asyncio.to_thread(forget_finished, services)
    return summary


async def accomplish(
    services: BaseServices, plan: PlanRun, ready: Callable[[Run], Awaitable[DoShard]]
) -> Summary:
    """As `carry_out`, for any kind of run.

    Args:
        services: Opened for this run.
        plan: Goes on with a run or freezes one; blocks: for threads.
        ready: What does one shard of that run.
    """
    started_s = monotonic()
    token = secrets.token_hex(2)
    run = await asyncio.to_thread(plan, now=datetime.now(UTC), token=token)
    await asyncio.to_thread(services.announce, run.run_id)
    ids = {"run_id": run.run_id, "items": run.items, "shards": len(run.pending)}
    log.info("run %(run_id)s begins: %(items)d items, %(shards)d shards to do", ids, extra=ids)
    await work_through(services, run, await ready(run))
    seconds = monotonic() - started_s
    summary = await asyncio.to_thread(sum_up, services, run, now=datetime.now(UTC), seconds=seconds)
    told = ids | {"ok": summary.ok, "errors": summary.failed, "calls": summary.calls}
    told |= {"cost_usd": summary.cost_usd, "seconds": summary.seconds}
    log.info(
        "run %(run_id)s ends: %(ok)d answered, %(errors)d errors, %(calls)d calls, %(seconds).1f s",
        told,
        extra=told,
    )
    return summary


async def work_through(services: BaseServices, run: Run, do_shard: DoShard) -> None:
    """Work on the pending shards, some at a time, with a pause between chunks.

    Args:
        services: Shared by all shards.
        run: What to do.
        do_shard: Does one shard.

    Raises:
        RunError: Why the run stopped early; everything so far is kept.
    """
    services.progress.done = run.items - sum(run.shard_rows[shard] for shard in run.pending)
    for number, chunk in enumerate(services.chunks.cut(run.pending, run.shard_rows)):
        if number:
            await _pause(services)
        await _work_on(services, chunk, do_shard, at_once=_open_shards(services, run))


async def _pause(services: BaseServices) -> None:
    seconds, activity = services.chunks.pause_s, services.progress.activity
    activity.hold(Stage.CHUNKS, until_s=activity.now_s() + seconds)
    with suppress(TimeoutError):
        await asyncio.wait_for(services.stop.requested.wait(), seconds)
    activity.hold(None)


async def _work_on(
    services: BaseServices, shards: Sequence[int], do_shard: DoShard, *, at_once: int
) -> None:
    turns = asyncio.Semaphore(at_once)

    async def one(shard: int) -> None:
        async with turns:
            if not services.stop.requested.is_set():
                await do_shard(shard)

    outcomes = await asyncio.gather(*map(one, shards), return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if services.stop.cause is not None:
        raise services.stop.cause
    if failures:
        raise failures[0]


def _open_shards(services: BaseServices, run: Run) -> int:
    most = services.config.limits.max_in_flight
    return max(LEAST_OPEN_SHARDS, math.ceil(_OPEN_ITEMS * most * run.shards / max(1, run.items)))


async def _asker_of(services: Services, run: Run) -> Asker:
    """Who asks for the items of a run, once batch jobs have done their part where they are used.

    Raises:
        RunError: As `asker_after_batches`; or it has jobs, and is not to be gone on with by them.
    """
    run_id, batch = run.run_id, services.batch
    if not run.items:
        if not services.begins and services.journal and services.journal.run_ids():
            raise ConfigError(
                "no run of this recipe, with these options, was cut off: `vision-pipeline batch "
                "status CONFIG` tells which ones have jobs; give the options they were begun with"
            )
        return Asker(services, run_id, unlimited())
    await asyncio.to_thread(check_jobs, services, run_id)
    if batch is not None:
        return await asker_after_batches(
            services,
            batch,
            run,
            budget=await budget_of(services, run_id, mode="batch"),
            later=partial(budget_of, services, run_id),
        )
    return Asker(services, run_id, await budget_of(services, run_id))
