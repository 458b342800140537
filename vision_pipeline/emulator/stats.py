"""Counters of the chat requests, as `GET /_emulator/stats` gives them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Ending = Literal["served", "refused", "faulted", "abandoned"]


@dataclass(slots=True)
class Stats:
    """What happened since the start or the last reset.

    Every request ends as one of four, so that at any moment
    `received == served + refused + faulted + abandoned + in_flight`.

    Attributes:
        received: Chat requests, counted on arrival; after a reset, those that are in flight.
        served: Answers with status 200, spoiled ones among them.
        refused: Answers with another status that no fault made: 4xx of the contract, 429 of the
            limits, 503 when the emulator ends.
        rate_limited: Those of the refused that the limits made.
        faulted: Requests that met a fault and got another status than 200, or no answer; and, if
            there are any, those that an error in the emulator itself has ended.
        abandoned: Requests that the client dropped before their answer; nothing is debited.
        faults: Requests by the kind of fault that they met, however they ended.
        statuses: Answers by HTTP status.
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
    rate_limited: int = 0
    faulted: int = 0
    abandoned: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
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

    def end(self, ending: Ending, status: int | None, now_s: float) -> None:
        """Count the end of a request; the status is None if nothing was answered."""
        match ending:
            case "served":
                self.served += 1
            case "refused":
                self.refused += 1
            case "faulted":
                self.faulted += 1
            case "abandoned":
                self.abandoned += 1
        if status is not None:
            self.statuses[str(status)] += 1
        self.in_flight -= 1
        self.last_at_s = now_s

    def anew(self) -> Stats:
        """Counters at zero, but for the requests in flight."""
        return Stats(
            received=self.in_flight, in_flight=self.in_flight, max_in_flight=self.in_flight
        )

    def as_json(self) -> dict[str, Any]:
        """The counters as a JSON object."""
        plain = asdict(replace(self, faults=Counter(), statuses=Counter()))
        return plain | {"faults": dict(self.faults), "statuses": dict(self.statuses)}
