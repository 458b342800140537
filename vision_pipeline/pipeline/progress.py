"""What a run has done so far: counters that the work raises and a display reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

from vision_pipeline.core.records import Row


@dataclass(slots=True)
class Progress:
    """Counters of one run; the one mutable record that shards share.

    Attributes:
        total: Items to work on, or None while the source is still being listed.
        done: Items that have a row now.
        worked: Those of them that this process wrote.
        already_answered: Items of the source that were left alone: their latest row answers this.
        already_failed: Items left alone because they failed at this question for good.
        calls: Requests that brought a reply; replies from the ledger are not among them.
        in_flight: Requests that await a reply.
        skipped: Files of the source that are no items, by reason.
        begun_at_s: When work began, on the monotonic clock.
    """

    total: int | None = None
    done: int = 0
    worked: int = 0
    already_answered: int = 0
    already_failed: int = 0
    ok: int = 0
    repaired: int = 0
    from_ledger: int = 0
    calls: int = 0
    in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, int] = field(default_factory=dict)
    begun_at_s: float | None = None

    def begin(self, total: int) -> None:
        """Note that the source is listed and work begins."""
        self.total = total
        self.begun_at_s = monotonic()

    def on_wire(self, change: int) -> None:
        """Count a request that goes onto the wire (+1) or is over (-1)."""
        self.in_flight += change

    def add(self, row: Row) -> None:
        """Count a finished item."""
        self.done += 1
        self.worked += 1
        self.repaired += row.repaired
        self.from_ledger += row.from_ledger
        if row.status == "ok":
            self.ok += 1
        elif row.error_code is not None:
            self.errors[row.error_code] += 1
        if row.from_ledger:
            return
        self.prompt_tokens += row.prompt_tokens or 0
        self.completion_tokens += row.completion_tokens or 0
        self.cost_usd += row.cost_usd or 0.0

    @property
    def failed(self) -> int:
        """Items whose row of this run is an error."""
        return self.errors.total()
