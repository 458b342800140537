"""A planned run, worked through shard by shard, and summed up."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, Protocol

from vision_pipeline.core.activity import Stage
from vision_pipeline.core.advice import advice
from vision_pipeline.core.errors import BusyError, ConfigError
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.batch.run import asker_after_batches
from vision_pipeline.pipeline.budget import budget_of, unlimited
from vision_pipeline.pipeline.plan import Run, plan_run
from vision_pipeline.pipeline.prospect import prospect
from vision_pipeline.pipeline.services import BaseServices, Services
from vision_pipeline.pipeline.tally import TALLIED, Tally

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


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a run.

    Rows, tokens and cost are those of the whole run, whichever processes worked on it. `calls`,
    `seconds`, `traffic`, `seconds_by_stage` and `advice` are of this process: where it went on with
    a run that was cut off, only of what it did itself.

    Attributes:
        run_id: The run, or None if there was nothing to do.
        resumed: Whether it finished a run that was cut off.
        items: Rows of this run.
        already_answered: Items left alone because their latest row answers this question.
        already_failed: Items left alone because they failed at it for good.
        from_ledger: Rows of this run whose reply another run or item paid for.
        calls: Requests of this process that brought a reply.
        prompt_tokens: Of all replies that this run paid for, as `completion_tokens` and `cost_usd`.
        seconds: Wall time of this process's part.
        results: Where the table is.
        models: Rows by the model that answered.
        examples: For each error code, the first item that has it, and its detail.
        failures: The first rows without an answer: `item_id`, `error_code` and `error_detail`.
        traffic: What went over the wire in this process: counts, and the limits as known.
        seconds_by_stage: Where the time of this process went.
        advice: What would have shortened it most; "" where that cannot be told.
    """

    run_id: str | None
    resumed: bool
    items: int
    ok: int
    errors: dict[str, int]
    already_answered: int
    already_failed: int
    skipped: dict[str, int]
    repaired: int
    from_ledger: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    seconds: float
    results: str
    models: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    traffic: dict[str, float | None] = field(default_factory=dict)
    seconds_by_stage: dict[str, float] = field(default_factory=dict)
    advice: str = ""

    @property
    def failed(self) -> int:
        """Rows of this run without an answer."""
        return sum(self.errors.values())

    @property
    def exit_code(self) -> int:
        """0 if every item has an answer, 1 if some have none."""
        return 1 if self.failed or self.already_failed else 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


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
    if services.batch is not None and summary.run_id is not None:
        await asyncio.to_thread(services.batch.journal.forget, summary.run_id)
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
        if not services.begins:
            raise ConfigError(
                "no run of this recipe, with these options, was cut off: `vision-pipeline batch "
                "status CONFIG` tells which ones have jobs; give the options they were begun with"
            )
        return Asker(services, run_id, unlimited())
    if batch is not None:
        return await asker_after_batches(
            services,
            batch,
            run,
            budget=await budget_of(services, run_id, mode="batch"),
            later=partial(budget_of, services, run_id),
        )
    if jobs := await asyncio.to_thread(services.open_jobs, run_id):
        noun = "job" if jobs == 1 else "jobs"
        raise BusyError(
            f"{jobs:,} batch {noun} of run {run_id} may bring the answers: "
            "go on with `--mode batch`, or end them with `vision-pipeline batch cancel CONFIG`"
        )
    return Asker(services, run_id, await budget_of(services, run_id))


def sum_up(services: BaseServices, run: Run, *, now: datetime, seconds: float) -> Summary:
    """Count a finished run from its table, and close its run file."""
    progress = services.progress
    tally = Tally()
    for shard in range(run.shards):
        tally.add(services.results.read_shard(run.run_id, shard, TALLIED))
    summary = Summary(
        run_id=run.run_id if run.items else None,
        resumed=run.resumed,
        items=tally.rows,
        ok=tally.ok,
        errors=dict(tally.errors.most_common()),
        already_answered=progress.already_answered,
        already_failed=progress.already_failed,
        skipped=dict(progress.skipped),
        repaired=tally.repaired,
        from_ledger=tally.from_ledger,
        calls=progress.calls,
        prompt_tokens=tally.prompt_tokens,
        completion_tokens=tally.completion_tokens,
        cost_usd=round(tally.cost_usd, 9) if services.price else None,
        seconds=round(seconds, 3),
        results=services.results.results_path(),
        models=dict(tally.models),
        examples=tally.examples,
        failures=tally.failures,
        **_timing(services),
    )
    if run.items:
        document = services.results.read_run(run.run_id)
        document |= {"finished_at": now.isoformat(), "summary": summary.to_dict()}
        services.results.write_run(run.run_id, document)
    return summary


def _timing(services: BaseServices) -> dict[str, Any]:
    activity = services.progress.activity
    activity.charge()
    most = services.config.limits.max_in_flight
    return {
        "traffic": {
            "sent": activity.sent,
            "refused": activity.refused,
            "failed": activity.failed,
            "most_in_flight": activity.most_in_flight,
            "requests_per_minute": activity.requests.limit,
            "tokens_per_minute": activity.tokens.limit,
        },
        "seconds_by_stage": {stage.value: round(s, 3) for stage, s in activity.by_stage()},
        "advice": advice(
            activity.seconds,
            is_full=activity.most_in_flight >= most,
            has_shrunk=activity.room < activity.most_in_flight,
        ),
    }
