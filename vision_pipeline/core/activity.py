"""What a run is doing at the moment, and what its time went into."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from vision_pipeline.core.limits import MINUTE_S

_NEWS_S = 2.0  # a shorter wait is no news
_SILENCE_S = 5.0  # after a failure; some answer comes sooner where the server is there


class Stage(StrEnum):
    """Where a run's time goes."""

    REQUEST_LIMIT = "request limit"
    TOKEN_LIMIT = "token limit"  # noqa: S105  (no password)
    PAUSE = "pause"
    CHUNKS = "pause between chunks"
    BATCH = "batch jobs"
    OUTAGE = "outage"
    ENDPOINT = "endpoint"
    PREPARATION = "preparation"
    STORAGE = "storage"
    OTHER = "other"


@dataclass(slots=True)
class Quota:
    """How much of a limit a minute is used.

    Attributes:
        limit: None as long as nobody knows it.
        used: Within the last minute.
        frees_at_s: When the first of that falls out of a window; None where there is no window.
        is_shared: Whether other processes use it too: waits may then be longer.
    """

    limit: float | None = None
    used: float = 0.0
    frees_at_s: float | None = None
    is_shared: bool = False

    def wait_s(self, amount: float, now_s: float) -> float | None:
        """How long it takes at least to use that much more, or None without a limit.

        What was used in a burst falls out of a window in one, so that the wait is whole minutes
        and the time until then; what was used evenly comes back evenly.
        """
        if not self.limit:
            return None
        missing = max(0.0, amount - max(0.0, self.limit - self.used))
        evenly_s = missing / self.limit * MINUTE_S
        if not missing or self.frees_at_s is None:
            return evenly_s
        in_a_burst_s = missing // self.limit * MINUTE_S + max(0.0, self.frees_at_s - now_s)
        return max(evenly_s, in_a_burst_s)

    @property
    def share(self) -> float | None:
        """What is used of what the last minute allowed, from 0; None without a limit."""
        return self.used / self.limit if self.limit else None


@dataclass(slots=True)
class Activity:
    """Counters that the parts of a run raise, and the clock that runs for what holds it up.

    At each moment one stage is charged: what the next request waits for, if one is ready to go;
    else the endpoint, while as many requests are in flight as may be or nothing else is at work;
    else preparation or storage, whichever is at work.

    Attributes:
        now_s: The clock, in seconds.
        in_flight: Requests that await a reply.
        most_in_flight: The most so far.
        room: How many may be in flight at the moment.
        preparing: Images being read or prepared.
        storing: Replies and shards being written.
        held_by: What the next request waits for, or None where none is ready.
        sent: Requests sent, tried again ones each time.
        refused: Requests refused by a rate limit.
        failed: Requests that failed in a way that may pass.
        requests: The quota of requests.
        tokens: The quota of tokens.
        outage: When the first of the failures came since which nothing is answered, and what the
            latest said; None while the latest request was answered.
        elsewhere: Why nothing moves in the processes that do the work, where others do.
        seconds: Charged so far, by stage.
    """

    now_s: Callable[[], float]
    in_flight: int = 0
    most_in_flight: int = 0
    room: int = 1
    preparing: int = 0
    storing: int = 0
    held_by: Stage | None = None
    sent: int = 0
    refused: int = 0
    failed: int = 0
    requests: Quota = field(default_factory=Quota)
    tokens: Quota = field(default_factory=Quota)
    outage: tuple[float, str] | None = None
    elsewhere: str = ""
    seconds: defaultdict[Stage, float] = field(default_factory=lambda: defaultdict(float))
    _charged_s: float | None = None
    _until_s: float = math.inf

    @property
    def news(self) -> str:
        """Why nothing moves, in words; "" as long as something does."""
        if self.elsewhere:
            return self.elsewhere
        now_s = self.now_s()
        if self.outage is not None and now_s - self.outage[0] >= _SILENCE_S:
            since_s, cause = self.outage
            return f"no answer for {now_s - since_s:.0f} s ({cause})"
        left_s = self._until_s - now_s
        if self.held_by is None or math.isinf(left_s) or left_s < _NEWS_S:
            return ""
        if self.held_by is Stage.PAUSE:
            return f"the server is busy, next try in {left_s:.0f} s"
        if self.held_by is Stage.CHUNKS:
            return f"the next chunk begins in {left_s:.0f} s"
        return f"the {self.held_by} frees in {left_s:.0f} s"

    def charge(self) -> None:
        """Charge the time since the last call; to be called before any change of state."""
        now_s = self.now_s()
        if self._charged_s is not None:
            self.seconds[self._stage()] += now_s - self._charged_s
        self._charged_s = now_s

    def by_stage(self) -> list[tuple[Stage, float]]:
        """Seconds charged so far, longest first; stages that took none are left out."""
        found = ((stage, seconds) for stage, seconds in self.seconds.items() if seconds > 0)
        return sorted(found, key=lambda each: -each[1])

    def begin(self) -> None:
        """Start the clock."""
        self._charged_s = self.now_s()

    def halt(self) -> None:
        """Stop the clock: the work is done elsewhere, and its time is told from there."""
        self.charge()
        self._charged_s = None

    def hold(self, stage: Stage | None, *, until_s: float = math.inf) -> None:
        """Note what the next request waits for, and until when where that is known.

        None where it has gone, or none is ready.
        """
        self._until_s = until_s
        if stage is not self.held_by:
            self.charge()
            self.held_by = stage

    @contextmanager
    def on_wire(self) -> Iterator[None]:
        """The block is a request."""
        self.charge()
        self.sent += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.charge()
            self.in_flight -= 1

    @contextmanager
    def prepares(self) -> Iterator[None]:
        """The block reads and prepares an image."""
        self.charge()
        self.preparing += 1
        try:
            yield
        finally:
            self.charge()
            self.preparing -= 1

    @contextmanager
    def stores(self) -> Iterator[None]:
        """The block writes."""
        self.charge()
        self.storing += 1
        try:
            yield
        finally:
            self.charge()
            self.storing -= 1

    def _stage(self) -> Stage:
        if self.held_by is not None:
            return self.held_by
        if self.in_flight >= self.room:
            return Stage.ENDPOINT
        if self.preparing:
            return Stage.PREPARATION
        if self.in_flight:
            return Stage.ENDPOINT
        return Stage.STORAGE if self.storing else Stage.OTHER
