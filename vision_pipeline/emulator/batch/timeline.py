"""What becomes of a batch job, and when: arithmetic on moments, without a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Status = Literal[
    "QUEUED",
    "RUNNING",
    "SUCCESS",
    "FAILED",
    "TIMEOUT_EXCEEDED",
    "CANCELLATION_REQUESTED",
    "CANCELLED",
]


@dataclass(slots=True)
class Timeline:
    """The moments of one job, in seconds of the emulator's clock.

    Attributes:
        created_s: When it was made.
        start_s: When it leaves the queue, unless it has ended before; infinite if it never does.
        run_s: How long it then runs.
        deadline_s: When its time is up, ended or not.
        fails: It ends as failed, with no lines beyond those that it has.
        asked_s: When it was asked to end; infinite before.
        cancelled_s: When that takes effect; infinite before.
    """

    created_s: float
    start_s: float
    run_s: float
    deadline_s: float
    fails: bool = False
    asked_s: float = math.inf
    cancelled_s: float = math.inf

    @property
    def is_asked_to_end(self) -> bool:
        """Whether it was asked to end."""
        return self.asked_s < math.inf

    @property
    def end_s(self) -> float:
        """When it ends, as things stand."""
        return min(self.deadline_s, self._natural_end_s)

    def status(self, now_s: float) -> Status:
        """What it is at a moment."""
        if now_s >= self.end_s:
            return self._ending
        if now_s >= self.asked_s:
            return "CANCELLATION_REQUESTED"
        return "RUNNING" if now_s >= self.start_s else "QUEUED"

    def due_lines(self, total: int, now_s: float) -> int:
        """How many of so many lines are answered by a moment.

        A job that is asked to end goes on until that takes effect: it may end as cancelled with all
        of its lines answered.
        """
        moment_s = min(now_s, self.end_s)
        if self.fails or moment_s < self.start_s:
            return 0
        if moment_s >= self.start_s + self.run_s:
            return total
        return int(total * (moment_s - self.start_s) / self.run_s)

    def cancel(self, now_s: float, *, takes_s: float, is_overdue: bool = False) -> None:
        """Ask it to end: at once in the queue, after a while when it runs.

        After its end that is in vain, unless it is overdue: it runs longer than was planned.
        """
        status = self.status(now_s)
        if status in ("QUEUED", "RUNNING") or (is_overdue and not self.is_asked_to_end):
            self.asked_s = now_s
            self.cancelled_s = now_s + (0.0 if status == "QUEUED" else takes_s)

    def fail(self, now_s: float) -> None:
        """Let it fail while it runs."""
        self.fails = True
        self.run_s = now_s - self.start_s

    @property
    def _natural_end_s(self) -> float:
        return self.cancelled_s if self.is_asked_to_end else self.start_s + self.run_s

    @property
    def _ending(self) -> Status:
        if self.deadline_s < self._natural_end_s:
            return "TIMEOUT_EXCEEDED"
        if self.is_asked_to_end:
            return "CANCELLED"
        return "FAILED" if self.fails else "SUCCESS"
