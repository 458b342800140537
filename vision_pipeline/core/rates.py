"""The rate that a server takes, learned from what it answers and what it refuses."""

from __future__ import annotations

from collections import deque

_LEAST_MEASURED_S = 2.0  # a shorter time between refusals tells of bursts, not of a rate
_CAREFUL = 0.98  # of a measured rate: what is kept below it is no refusal
_SAME = 0.1  # of a rate: what differs less was measured twice
_CUT = 0.8  # of the rate, where a refusal comes too soon to measure
_LEAST_PER_S, _MOST_PER_S = 0.05, 1e5  # the smallest published limit is 4 a minute
_GROWTH, _MOST_GROWTH = 1.02, 1.25
_GROWTH_OF_A_GUESS = 2.0
_PERIOD_S = 5.0  # of growth
_STEADY = 6  # steps of growth before they double: whoever is refused again by then was near

# Single refusals between which the flow differs by more than so much: it is no limit that refuses.
_SINGLE, _SPREAD = 4, 1.25
_TOLERATED = 0.01  # share of requests refused by chance, whatever was seen before
_FEW, _ENOUGH = 3, 20  # refusals, and requests, that tell of a share


class LearnedRate:
    """Requests a second, for a server that refuses some and does not say how many it takes.

    Between two refusals a bucket goes from empty to empty, so that what it took in between is
    exactly what flowed into it, each time the same. Where that differs from one refusal to the
    next they come by chance, however few requests there are: the rate is then restored, and their
    share borne.

    Args:
        now_s: The time, on a clock that never runs backwards.

    Attributes:
        per_s: The rate to keep; None as long as no limit shows.
    """

    def __init__(self, *, now_s: float) -> None:
        self.per_s: float | None = None
        self._flow_per_s = 0.0  # what the limit was measured to be
        self._is_sure = False  # whether more was tried than the limit, and was refused
        self._steps = 0
        self._chance = _Chance()
        self._since_s = self._grown_s = now_s
        self._taken = 0

    def sent(self, now_s: float) -> None:
        """Count a request; after a while without refusals the rate grows."""
        self._taken += 1
        self._chance.requests += 1
        if now_s - self._grown_s >= _PERIOD_S and self._chance.goes_on():
            self._grown_s = now_s
            self._grow()

    def untaken(self, sent_s: float) -> None:
        """Count a request that was refused after all."""
        if sent_s >= self._since_s:
            self._taken -= 1

    def refused(self, now_s: float, *, in_a_row: bool) -> bool:
        """Lower the rate after a refusal, of several at once only after the first.

        Args:
            now_s: The time.
            in_a_row: Whether most of the latest requests were refused.

        Returns:
            Whether a limit refused it, and not chance.
        """
        if self._chance.bears(in_a_row=in_a_row):
            return False
        measured_s, taken = now_s - self._since_s, self._taken
        self._since_s = self._grown_s = now_s
        self._taken = self._steps = 0
        if taken <= 0:
            return True  # a row of refusals tells nothing that its first one did not
        if not in_a_row and self._chance.is_found(self.per_s, taken, measured_s):
            self.per_s = self._chance.per_s_before
            self._is_sure = False
            return False
        self._lower(taken, measured_s, in_a_row=in_a_row)
        return True

    def _lower(self, taken: int, measured_s: float, *, in_a_row: bool) -> None:
        if self.per_s is None:
            # What it took in the first second, more or less: a burst may be among it.
            self._flow_per_s = per_s = taken / max(measured_s, 1.0)
        elif measured_s < _LEAST_MEASURED_S:
            self._flow_per_s = self.per_s
            per_s = _CUT * self.per_s
        else:
            flow_per_s = taken / measured_s
            is_same = abs(flow_per_s - self._flow_per_s) < _SAME * self._flow_per_s
            self._is_sure |= in_a_row or (is_same and self.per_s > flow_per_s * (1 + _SAME))
            self._flow_per_s = flow_per_s
            per_s = _CAREFUL * flow_per_s
        self.per_s = max(per_s, _LEAST_PER_S)

    def _grow(self) -> None:
        if self.per_s is None:
            return
        growth = _GROWTH_OF_A_GUESS
        if self._is_sure:
            self._steps += 1
            growth = min(_MOST_GROWTH, _GROWTH ** (2 ** min(max(0, self._steps - _STEADY), 8)))
        self.per_s = min(growth * self.per_s, _MOST_PER_S)


class _Chance:
    """Refusals that come however few requests there are.

    Attributes:
        per_s_before: The rate before it was lowered in vain.
        requests: Sent since shares were last looked at.
    """

    def __init__(self) -> None:
        self.per_s_before: float | None = None
        self.requests = 0
        self._refused = 0
        self._share: float | None = None  # that is borne; None while a limit explains all
        self._rates: deque[float | None] = deque(maxlen=_SINGLE + 1)
        self._flows: deque[tuple[float, float]] = deque(maxlen=_SINGLE)
        self._takens: deque[int] = deque(maxlen=_SINGLE)

    def bears(self, *, in_a_row: bool) -> bool:
        """Whether a refusal is one of these; a row of refusals is the work of a limit."""
        if in_a_row:
            self._share = None
            self._forget()
        self._refused += self._share is not None
        return self._share is not None

    def is_found(self, per_s: float | None, taken: int, measured_s: float) -> bool:
        """Whether a single refusal, after so many requests in that time, is by chance."""
        self._rates.append(per_s)
        if per_s is None:
            return False  # what it took so far may be a burst
        # One more or less is no difference: a request may be on its way.
        self._flows.append(((taken - 1) / measured_s, (taken + 1) / measured_s))
        self._takens.append(taken)
        highest, lowest = max(low for low, _ in self._flows), min(high for _, high in self._flows)
        if len(self._flows) < _SINGLE or highest < _SPREAD * lowest:
            return False
        self.per_s_before = self._rates[0]
        self._share = _SINGLE / (_SINGLE + sum(self._takens))
        self._forget()
        return True

    def goes_on(self) -> bool:
        """Whether no more are refused than are borne; to be asked now and then."""
        if self._share is None:
            return True
        if self.requests < _ENOUGH:
            return False
        share = self._refused / self.requests
        is_borne = self._refused < _FEW or share <= max(_TOLERATED, 2 * self._share)
        self._share = self._share + (share - self._share) / 10 if is_borne else None
        self.requests = self._refused = 0
        return is_borne

    def _forget(self) -> None:
        for each in (self._rates, self._flows, self._takens):
            each.clear()
        self.requests = self._refused = 0
