"""What everything about files and batch jobs shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vision_pipeline.emulator.batch.files import FileStore
from vision_pipeline.emulator.batch.stats import BatchStats
from vision_pipeline.emulator.batch_faults import Target
from vision_pipeline.emulator.captures import Captures
from vision_pipeline.emulator.conditions import Conditions
from vision_pipeline.emulator.draws import Chance, Fault
from vision_pipeline.emulator.effects import Effect, Refuse
from vision_pipeline.emulator.settings import EmulatorSettings


@dataclass(slots=True)
class Submission:
    """A request for something new, as it is captured.

    Attributes:
        request: Method and path.
        body: What was asked.
        reply: What is answered if nothing goes wrong.
        fault: What it has met; None before it is drawn, and without one.
    """

    request: str
    body: object = None
    reply: dict[str, Any] = field(default_factory=dict)
    fault: Fault | None = None

    @property
    def effect(self) -> Effect | None:
        """What its fault does."""
        return None if self.fault is None else self.fault.effect


class BatchState:
    """Files, counters and chance of one emulator.

    Args:
        conditions: What holds at a moment.
        captures: What tests look at.
        clock: Seconds, never going back.
        epoch_s: The time of day when that clock shows 0.
        seed: Decides ids, orders and faults.
    """

    def __init__(
        self,
        conditions: Conditions,
        captures: Captures,
        *,
        clock: Callable[[], float],
        epoch_s: float,
        seed: int,
    ) -> None:
        self.captures = captures
        self.epoch_s = epoch_s
        self.seed = seed
        self.files = FileStore(seed=seed)
        self._conditions = conditions
        self._clock = clock
        self.reset()

    @property
    def settings(self) -> EmulatorSettings:
        """Those that hold now."""
        return self._conditions.settings

    def reset(self) -> None:
        """Begin anew, as after the start."""
        self.files.reset()
        self.stats = BatchStats()
        self._chance = Chance(seed=self.seed, met=self.stats.faults)

    def now_s(self) -> float:
        """The moment, up to which the settings are kept."""
        now_s = self._clock()
        self._conditions.keep_up(now_s)
        return now_s

    def draw(self, target: Target, identity: bytes) -> Fault | None:
        """What such a thing meets."""
        return self._chance.of(target, identity, self.settings.faults)

    def submit(self, submission: Submission, target: Target, identity: bytes) -> None:
        """Let a request meet its fault.

        Raises:
            RefusalError: That is an error answer, and nothing is done.
        """
        submission.fault = self.draw(target, identity)
        if isinstance(submission.effect, Refuse):
            raise submission.effect.error()
