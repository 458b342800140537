"""What a run has done so far: counters that the work raises and a display reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

from vision_pipeline.core.activity import Activity
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
        activity: What goes on at the moment, and what the time went into.
        skipped: Files of the source that are no items, by reason.
        lists: What is gone through to find the items.
        waits_for: The command that holds the output, while this one waits for it; else "".
        begun_at_s: When work began, on the monotonic clock.
        budget_left: What may still be spent, in words, or "" where nothing bounds it.
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
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, int] = field(default_factory=dict)
    lists: str = "the source"
    waits_for: str = ""
    begun_at_s: float | None = None
    budget_left: str = ""
    activity: Activity = field(default_factory=lambda: Activity(now_s=monotonic))

    def begin(self, total: int) -> None:
        """Note that the source is listed and work begins."""
        self.total = total
        self.begun_at_s = monotonic()
        self.activity.begin()

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

    def left_s(self) -> float | None:
        """Seconds until all is done, by the limit that binds; None where nothing tells it yet."""
        if self.total is None or self.begun_at_s is None or not self.worked:
            return None
        left = self.total - self.done
        rate = self.worked / max(monotonic() - self.begun_at_s, 1e-9)
        activity = self.activity
        now_s = activity.now_s()
        calls = max(self.calls, 1)
        tokens = (self.prompt_tokens + self.completion_tokens) / calls
        share = self.calls / self.worked  # the rest comes from the ledger, or fails before
        by_limits = [
            activity.requests.wait_s(left * share, now_s),
            activity.tokens.wait_s(left * share * tokens, now_s),
        ]
        known = max((each for each in by_limits if each is not None), default=0.0)
        if activity.requests.is_shared:  # what others take of the limits shows in the rate alone
            return max(known, left / rate)
        return known or left / rate

    @property
    def failed(self) -> int:
        """Items whose row of this run is an error."""
        return self.errors.total()
