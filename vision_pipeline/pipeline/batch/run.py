"""A run by batches, up to where its rows can be written from the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Set
from typing import Any

from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.errors import BudgetError
from vision_pipeline.core.records import Amount
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.batch.askers import LeftoverAsker, failure_of
from vision_pipeline.pipeline.batch.jobs import Jobs
from vision_pipeline.pipeline.batch.noting import Noter, note_all
from vision_pipeline.pipeline.batch_services import BatchServices
from vision_pipeline.pipeline.budget import Budget, Reservation
from vision_pipeline.pipeline.plan import Run
from vision_pipeline.pipeline.services import Services

MOST_TRIES = 3  # of a request, in as many jobs


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
    await _rounds(services, batch, run, jobs=jobs, budget=budget)
    await asyncio.to_thread(_tell, services, run.run_id, jobs)
    pays = batch.settings.stragglers == "realtime"
    return LeftoverAsker(services, run.run_id, await later(), failures=jobs.failures(), pays=pays)


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
        await jobs.take_up()
        ended += len(jobs.open)
        await jobs.cancel()
    return ended


async def _rounds(
    services: Services, batch: BatchServices, run: Run, *, jobs: Jobs, budget: Budget
) -> None:
    """Note, hand over, wait and collect, until nothing is left to be asked in a batch."""
    journal, again = batch.journal, batch.settings.stragglers == "batch"
    round_ = max(1, jobs.round)  # one that was cut off goes on
    while True:
        exhausted: BudgetError | None = None
        if not await asyncio.to_thread(journal.is_whole, run.run_id):
            known = _known(jobs, again=again)
            noter = Noter(services, batch, jobs=jobs, budget=budget, known=known, round_=round_)
            try:
                await note_all(services, run, noter)
            finally:
                noter.close()
            exhausted = noter.exhausted
            if exhausted is None:
                await asyncio.to_thread(journal.mark_whole, run.run_id, whole=True)
            if not noter.noted and not jobs.open:
                if exhausted is not None:
                    raise exhausted
                return
        await jobs.wait()
        if exhausted is None and not await asyncio.to_thread(journal.is_whole, run.run_id):
            continue  # the provider had no room for some of it
        latest = [part for part in jobs.parts if part.round == jobs.round]
        if exhausted is None and not (again and any(map(_is_wanting, latest))):
            return
        await asyncio.to_thread(journal.mark_whole, run.run_id, whole=False)
        round_ = jobs.round + 1


def _known(jobs: Jobs, *, again: bool) -> Set[str]:
    """What is not handed over once more."""
    tries = jobs.tries()
    if not again:
        return tries.keys()
    on_their_way = {key for part in jobs.open for key in part.payers}
    hopeless = {key for key, told in jobs.failures().items() if _is_hopeless(told)}
    return on_their_way | hopeless | {key for key, tried in tries.items() if tried >= MOST_TRIES}


def _reservation(part: Part) -> Reservation:
    return Reservation(part.worst, requests=part.requests)


def _is_wanting(part: Part) -> bool:
    """Whether one more job may answer some of its requests."""
    hopeless = sum(map(_is_hopeless, part.failures.values()))
    return part.answered - part.unusable + hopeless < part.requests


def _is_hopeless(failure: tuple[int, str]) -> bool:
    return not failure_of(*failure).code.is_transient


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
