"""A run by batches, up to where its rows can be written from the ledger."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vision_pipeline.core.batch import JobState
from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.errors import (
    BudgetError,
    BusyError,
    StoppedError,
    WaitingError,
    jobs_told,
)
from vision_pipeline.core.records import Amount
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.batch.askers import LeftoverAsker
from vision_pipeline.pipeline.batch.jobs import Jobs
from vision_pipeline.pipeline.batch.leftovers import failures, is_wanting, known, latest_round
from vision_pipeline.pipeline.batch.noting import Noter, note_all
from vision_pipeline.pipeline.batch_services import BatchServices
from vision_pipeline.pipeline.budget import Budget, Reservation
from vision_pipeline.pipeline.plan import Run
from vision_pipeline.pipeline.services import Services

LEAST_SHARE = 0.5  # of a round's requests: one that a budget cuts further is not worth its wait


async def asker_after_batches(
    services: Services,
    batch: BatchServices,
    run: Run,
    *,
    budget: Budget,
    later: Callable[[], Awaitable[Budget]],
) -> Asker:
    """Have jobs answer what a run asks; returns who asks for the rest, as its rows are written.

    Args:
        services: Of the run.
        batch: The provider's side, the journal and the settings.
        run: Planned.
        budget: At the price of a batch.
        later: The budget for what is asked in real time afterwards.

    Raises:
        WaitingError: Jobs are under way, and this process waits no longer.
        BudgetError: Not all can be asked within it; what could be is answered.
        RunError: Why it stopped early; the same command goes on.
    """

    def settle(part: Part, taken: Amount) -> None:
        budget.settle(_reservation(part), taken)
        services.progress.budget_left = budget.left()

    jobs = Jobs(services, batch, run.run_id, settle=settle)
    for part in jobs.open:
        budget.set_aside(_reservation(part))
    await jobs.take_up()
    if not services.begins and not jobs.open and any(map(_is_cancelled, jobs.parts)):
        raise StoppedError(
            f"the batch jobs of run {run.run_id} were cancelled, and nothing is under way: `run` "
            "asks for the rest at once, `run --mode batch` in new jobs"
        )
    await _rounds(services, batch, run, jobs=jobs, budget=budget)
    await asyncio.to_thread(_tell, services, run.run_id, jobs)
    pays = batch.settings.stragglers == "realtime"
    failed = failures(jobs.parts)
    return LeftoverAsker(services, run.run_id, await later(), failures=failed, pays=pays)


def check_jobs(services: Services, run_id: str) -> None:
    """See that no batch job may bring answers to what a run is about to ask; blocks: for threads.

    Raises:
        BusyError: One may, of this run or of another one that asks the same question.
    """
    journal = services.journal
    if journal is None:
        return
    for other in journal.run_ids():
        jobs = sum(part.may_have_job for part in journal.parts(other))
        is_own = other == run_id
        if not jobs or (is_own and services.batch is not None):
            continue
        if is_own or (not services.fresh and _asks_the_same(services, other)):
            noun = "job" if jobs == 1 else "jobs"
            raise BusyError(
                f"{jobs:,} batch {noun} of run {other} may bring answers to this: go on with that "
                "run (its command, with `--mode batch`, or `vision-pipeline batch collect CONFIG` "
                "with its options), or end them with `vision-pipeline batch cancel CONFIG "
                f"--output {services.config.output.path}`"
            )


def forget_finished(services: Services) -> None:
    """Forget the jobs of runs that are finished, also of one that was killed just after; blocks."""
    journal = services.journal
    if journal is None:
        return
    for run_id in journal.run_ids():
        if _run_file(services, run_id).get("finished_at") is not None:
            journal.forget(run_id)


def _run_file(services: Services, run_id: str) -> Mapping[str, Any]:
    try:
        return services.results.read_run(run_id)
    except FileNotFoundError:
        return {}


def _asks_the_same(services: Services, run_id: str) -> bool:
    asked = _run_file(services, run_id).get("question_sha256")
    return bool(asked == services.question.sha256)


async def cancel_jobs(services: Services) -> int:
    """Have the provider end the jobs of all unfinished runs, and keep what they have answered.

    Returns:
        How many jobs were under way.

    Raises:
        RunError: The provider refuses, or does not answer.
    """
    batch, ended = services.batch, 0
    if batch is None:
        return 0
    for run_id in await asyncio.to_thread(batch.journal.run_ids):
        jobs = Jobs(services, batch, run_id, settle=lambda *_: None)
        ended += await jobs.cancel()
    return ended


async def _rounds(
    services: Services, batch: BatchServices, run: Run, *, jobs: Jobs, budget: Budget
) -> None:
    """Note, hand over, wait and collect, until nothing is left to be asked in a batch."""
    is_whole = await asyncio.to_thread(batch.journal.is_whole, run.run_id)
    if not (services.begins or is_whole):
        await jobs.wait()
        raise StoppedError(
            f"not all of run {run.run_id} was submitted: `vision-pipeline batch submit CONFIG` "
            "hands over the rest"
        )
    round_, least = max(1, latest_round(jobs.parts)), 0.0  # a round that was cut off goes on
    while True:
        noted, exhausted = await _note(services, batch, run, jobs=jobs, budget=budget, to=round_)
        if noted == 0 and not jobs.open:
            if exhausted is not None:
                raise exhausted
            return
        await _wait(jobs, exhausted)
        is_whole = await asyncio.to_thread(batch.journal.is_whole, run.run_id)
        if exhausted is not None:
            if noted < least:
                raise exhausted
            least = max(least, LEAST_SHARE * noted)
        elif is_whole and not _is_more(batch, jobs):
            return
        # Where the provider had no room for some of it, the same round goes on.
        round_ = latest_round(jobs.parts) + (is_whole or exhausted is not None)
        await asyncio.to_thread(batch.journal.mark_whole, run.run_id, whole=False)


async def _note(  # noqa: PLR0913  (each of them is something else)
    services: Services, batch: BatchServices, run: Run, *, jobs: Jobs, budget: Budget, to: int
) -> tuple[float, BudgetError | None]:
    """How many requests a round handed over, and why not all; `NaN` where all was before."""
    journal = batch.journal
    if await asyncio.to_thread(journal.is_whole, run.run_id):
        return math.nan, None
    again = batch.settings.stragglers == "batch"
    seen = known(jobs.parts, again=again)
    noter = Noter(services, batch, jobs=jobs, budget=budget, known=seen, round_=to)
    try:
        await note_all(services, run, noter)
    finally:
        noter.close()
    if noter.exhausted is None:
        await asyncio.to_thread(journal.mark_whole, run.run_id, whole=True)
    return noter.noted, noter.exhausted


async def _wait(jobs: Jobs, exhausted: BudgetError | None) -> None:
    try:
        await jobs.wait()
    except WaitingError as waiting:
        if exhausted is None:
            raise
        raise BudgetError(f"{jobs_told(waiting.counts)}; for the rest, {exhausted}") from None


def _is_cancelled(part: Part) -> bool:
    return part.outcome == JobState.CANCELLED and is_wanting(part)


def _is_more(batch: BatchServices, jobs: Jobs) -> bool:
    latest = latest_round(jobs.parts)
    parts = [part for part in jobs.parts if part.round == latest]
    return batch.settings.stragglers == "batch" and any(map(is_wanting, parts))


def _reservation(part: Part) -> Reservation:
    return Reservation(part.worst, requests=part.requests)


def _tell(services: Services, run_id: str, jobs: Jobs) -> None:
    """Note in the run file which jobs there were."""
    document = services.results.read_run(run_id)
    document["batch_jobs"] = [_shown(part) for part in jobs.parts]
    services.results.write_run(run_id, document)


def _shown(part: Part) -> dict[str, Any]:
    return {
        "job_id": part.job_id,
        "outcome": part.outcome,
        "requests": part.requests,
        "answered": part.answered,
        "failed": len(part.failures),
    }
