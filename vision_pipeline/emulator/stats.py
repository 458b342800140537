"""Counters of the chat requests, as `GET /_emulator/stats` gives them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(slots=True)
class Stats:
    """What happened since the start or the last reset; every request ends as one of three.

    Attributes:
        received: Chat requests, counted on arrival.
        served: Answers with status 200, spoiled ones among them.
        refused: Answers with another status that no fault made: 4xx of the contract.
        faults: Requests by the kind of fault that they met.
        in_flight: Received and not ended.
        max_in_flight: The most at one time.
        prompt_tokens: Of all served.
        completion_tokens: Of all served.
        wire_bytes: Of all request bodies read.
        first_at_s: First arrival, in seconds of the emulator's clock (monotonic); None at first.
        last_at_s: Latest end, on the same clock.
    """

    received: int = 0
    served: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    max_in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    wire_bytes: int = 0
    first_at_s: float | None = None
    last_at_s: float | None = None

    def begin(self, now_s: float) -> None:
        """Count an arrival."""
        self.received += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if self.first_at_s is None:
            self.first_at_s = now_s

    def end(self, now_s: float) -> None:
        """Count the end of a request, however it ended."""
        self.in_flight -= 1
        self.last_at_s = now_s

    def as_json(self) -> dict[str, Any]:
        """The counters as a JSON object."""
        return asdict(replace(self, faults=Counter())) | {"faults": dict(self.faults)}
