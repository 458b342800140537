"""What became of a run: counted from its table, and told by its file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from vision_pipeline.core.advice import advice
from vision_pipeline.pipeline.plan import Run
from vision_pipeline.pipeline.services import BaseServices
from vision_pipeline.pipeline.tally import TALLIED, Tally


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
    # More requests at once make no faster what is computed on this machine.
    computes_here = services.config.model.provider == "emulator"
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
            is_full=activity.most_in_flight >= most and not computes_here,
            has_shrunk=activity.room < activity.most_in_flight,
        ),
    }
