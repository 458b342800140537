"""How many requests at once serve a server best."""

from __future__ import annotations

import math
from dataclasses import dataclass

START = 32
CAREFUL_START = 4  # on a server of which nothing is known
_FIRST_WINDOW = 12  # answers, at least, while the bound doubles: it should not get far
_LEAST_WINDOW = 32  # answers, at least, later
_TOLERANCE = math.log(2)  # how much slower answers may become before a cause is looked for
_QUEUEING = 0.1  # above the base, likewise a logarithm: growth may cost latency
_NEAR = 0.3
_GROWTH = 1.25  # a window, once doubling has ended
_PROBE = 0.6  # of the bound; above 1 / tolerance, or what is kept would be doubted at once
_EASED = 0.7  # of a probe's shrinking that latency has to follow: then throughput stays
_CUT = 0.7
_MOST_REST = 64  # windows
_LEAST_LATENCY_S = 1e-6  # has a logarithm


@dataclass(frozen=True, slots=True)
class _Latency:
    """What a window of answers took: logarithms of seconds.

    Attributes:
        centre: The mean of the middle half, which neither a tail nor a few slow answers move.
        error: About one standard error of it.
    """

    centre: float
    error: float

    @staticmethod
    def of(window: list[float]) -> _Latency:
        """That of at least 4 answers."""
        quarter = len(window) // 4
        middle = sorted(window)[quarter : len(window) - quarter]
        # Of normal deviates the middle half spans 1.35 standard deviations, and its mean errs by
        # 1.09 / sqrt(n) of one (Stigler 1973, The asymptotic distribution of the trimmed mean).
        error = 1.09 / 1.35 * (middle[-1] - middle[0]) / math.sqrt(len(window))
        return _Latency(sum(middle) / len(middle), error)


class Concurrency:
    """A bound that grows, and shrinks only where that costs no throughput.

    By Little's law throughput is in flight / latency. At first the bound doubles with each round of
    answers, as TCP's slow start does. When answers take twice as long as before it is lowered for
    a window, to find out why: where latency follows, requests only queue, and the bound goes down
    until latency no longer follows; where it does not, the server or the images have changed, and
    the bound comes back and doubles on.

    Args:
        most: Never more than this many.
        start: How many may go at once at first.
    """

    def __init__(self, most: int, *, start: int) -> None:
        self._most = most
        self._exact = float(min(most, start))
        self._is_unknown = True  # nothing has said stop so far
        self._is_doubling = True
        self._base = math.inf  # of latency, its logarithm
        self._is_doubted = False  # whether latency has risen, and is measured with a fixed bound
        self._before: tuple[int, _Latency] | None = None  # the bound that a probe is held against
        self._has_eased = False  # whether this probe has brought latency down
        self._rest, self._next_rest = 0, 1  # windows without growth
        self._begin(stale=0)

    @property
    def bound(self) -> int:
        """How many may be in flight, at least 1."""
        return int(self._exact)

    def answered(self, latency_s: float, *, in_flight: int) -> None:
        """Note an answer.

        Args:
            latency_s: From sending to the whole answer.
            in_flight: How many were, this one among them; far below the bound they say nothing.
        """
        if 2 * in_flight < self._exact:
            return
        if self._is_doubling and not self._is_doubted:
            self._exact = min(self._exact + 1, float(self._most))
        if self._stale:
            self._stale -= 1
            return
        self._window.append(math.log(max(latency_s, _LEAST_LATENCY_S)))
        if len(self._window) >= self._wanted:
            self._judge(_Latency.of(self._window))

    def known(self) -> None:
        """Note that the server's limits are known: nothing has to be found out carefully."""
        if self._is_unknown:
            self._exact = max(self._exact, float(min(self._most, START)))

    def overloaded(self) -> None:
        """Note that the server says it is full; of several at once only the first."""
        self._is_unknown = self._is_doubling = False
        self._before, self._is_doubted = None, False
        self._exact = max(1.0, _CUT * self._exact)
        self._begin(stale=0)

    def _judge(self, now: _Latency) -> None:
        if self._before is not None:
            self._compare(*self._before, now)
        elif now.centre - self._base <= _TOLERANCE + now.error:
            self._base, self._is_doubted = min(self._base, now.centre + now.error), False
            self._grow(now)
            self._begin(stale=0)
        elif self._is_doubted:
            self._is_doubted = self._is_doubling = self._is_unknown = self._has_eased = False
            self._probe(now)
        else:
            self._is_doubted = True
            self._begin(stale=self.bound)

    def _probe(self, now: _Latency) -> None:
        self._before = (self.bound, now)
        self._exact = max(1.0, _PROBE * self._exact)
        self._begin(stale=self._before[0])

    def _compare(self, bound: int, before: _Latency, now: _Latency) -> None:
        """End a probe, or go on with it."""
        eased = before.centre - now.centre
        shrunk = math.log(bound / self.bound)
        is_enough = eased - math.hypot(before.error, now.error) >= _EASED * shrunk
        self._has_eased |= eased >= shrunk / 2
        if is_enough and self.bound > 1 and not self._is_near_base(now):
            self._probe(now)
            return
        self._before = None
        if not is_enough:
            self._exact = float(bound)
        self._settle(now)
        self._begin(stale=0)

    def _is_near_base(self, now: _Latency) -> bool:
        """Whether a base that a probe has found says that less in flight would cost throughput."""
        return self._next_rest > 1 and now.centre - self._base <= _NEAR

    def _settle(self, now: _Latency) -> None:
        if self._has_eased:
            if not self._is_near_base(now):
                self._base = now.centre
            self._rest, self._next_rest = self._next_rest, min(4 * self._next_rest, _MOST_REST)
            return
        self._base = now.centre
        self._rest, self._next_rest = 0, 1
        self._is_doubling = True

    def _grow(self, now: _Latency) -> None:
        is_queueing = now.centre - self._base > _QUEUEING + now.error
        if self._rest and is_queueing:
            self._rest -= 1
        elif not self._is_doubling:
            self._exact = min(max(self._exact + 1, _GROWTH * self._exact), float(self._most))

    def _begin(self, *, stale: int) -> None:
        """Begin a window, after so many answers to what went under another bound."""
        self._stale = stale
        self._window: list[float] = []
        least = _FIRST_WINDOW if self._is_doubling else _LEAST_WINDOW
        self._wanted = max(least, self.bound)
