"""The rate that a server takes, learned from what it answers and what it refuses."""

from __future__ import annotations

_LEAST_MEASURED_S = 2.0  # a shorter time between refusals tells of bursts, not of a rate
_CAREFUL = 0.98  # of a measured rate: what is kept below it is no refusal
_CUT = 0.8  # of the rate, where a refusal comes too soon to measure
_GROWTH, _MOST_GROWTH = 1.02, 1.25
_GROWTH_S = 5.0  # how long nothing is refused before the rate grows
_STEADY = 6  # steps of growth before they double: whoever is refused again by then was near


class LearnedRate:
    """Requests a second, for a server that refuses some and does not say how many it takes.

    Between two refusals a bucket goes from empty to empty, so that what it took in between is
    exactly what flowed into it.

    Args:
        now_s: The time, on a clock that never runs backwards.

    Attributes:
        per_s: The rate to keep; None as long as nothing was refused.
    """

    def __init__(self, *, now_s: float) -> None:
        self.per_s: float | None = None
        self._since_s = self._grown_s = now_s
        self._taken = self._steps = 0

    def sent(self, now_s: float) -> None:
        """Count a request; after a while without refusals the rate grows."""
        self._taken += 1
        if self.per_s is not None and now_s - self._grown_s >= _GROWTH_S:
            self._steps += 1
            faster = 2 ** min(max(0, self._steps - _STEADY), 8)
            self.per_s *= min(_MOST_GROWTH, _GROWTH**faster)
            self._grown_s = now_s

    def untaken(self, sent_s: float) -> None:
        """Count a request that was refused after all."""
        if sent_s >= self._since_s:
            self._taken -= 1

    def refused(self, now_s: float) -> None:
        """Lower the rate after a refusal, of several at once only after the first."""
        measured_s, taken = now_s - self._since_s, self._taken
        self._since_s = self._grown_s = now_s
        self._taken = self._steps = 0
        if taken <= 0:
            return  # a row of refusals tells nothing that its first one did not
        if self.per_s is None:
            # What it took in the first second, more or less: a burst may be among it.
            self.per_s = taken / max(measured_s, 1.0)
        elif measured_s >= _LEAST_MEASURED_S:
            self.per_s = _CAREFUL * taken / measured_s
        else:
            self.per_s *= _CUT
