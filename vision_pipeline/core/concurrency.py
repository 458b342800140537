"""How many requests at once serve a server best."""

from __future__ import annotations

import math
from dataclasses import dataclass

START = 32
CAREFUL_START = 4  # on a server of which nothing is known
_FIRST_WINDOW = 12  # answers, at least, at first: doubling should not get far without a look
_LEAST_WINDOW = 32  # answers, at least, later
# Of latency above its base, as logarithms:
_QUEUEING = 0.1  # some of it is likely waiting
_NEAR = 0.3  # less in flight would leave the server idle
_TOLERANCE = math.log(2)  # the cause is worth a probe
_PROBE = 0.6  # of the bound; above 1 / tolerance, or what is kept would be doubted at once
_EASED = 0.6  # of a probe's shrinking that latency has to follow: then throughput stays
_DOUBLING, _GROWTH, _CAREFUL_GROWTH = 1.0, 0.5, 0.25  # of the bound a round
_CUT = 0.7
_MOST_REST = 64  # windows
_MOST_AGE = 64  # windows; a wrong base would otherwise stay
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
        self._step = _DOUBLING  # an answer
        self._is_unknown = True  # nothing has said stop so far
        self._base = math.inf  # latency without waiting, its logarithm
        self._is_doubted = False  # whether latency has risen, and is measured with a fixed bound
        self._before: tuple[int, _Latency] | None = None  # the bound that a probe is held against
        self._has_eased = False  # whether this probe has brought latency down
        self._rest, self._next_rest = 0, 1  # windows without growth
        self._age = 0  # windows since the last probe
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
        self._exact = min(self._exact + self._step, float(self._most))
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
        self._is_unknown = self._is_doubted = False
        self._before = None
        self._exact, self._step = max(1.0, _CUT * self._exact), _GROWTH
        self._begin(stale=0)

    def _begin(self, *, stale: int) -> None:
        """Begin a window, after so many answers to what went under another bound."""
        self._stale = stale
        self._window: list[float] = []
        self._wanted = max(_FIRST_WINDOW if self._is_unknown else _LEAST_WINDOW, self.bound)

    def _judge(self, now: _Latency) -> None:
        if self._before is not None:
            self._compare(*self._before, now)
        elif now.centre - self._base <= _TOLERANCE + now.error and self._age < _MOST_AGE:
            self._is_doubted = False
            self._base = min(self._base, now.centre + now.error)
            self._age += 1
            self._grow(now)
            self._begin(stale=0)
        elif self._is_doubted:
            self._is_doubted = self._is_unknown = self._has_eased = False
            self._probe(now)
        else:
            # The bound may have grown meanwhile; a probe needs to know what it alone changes.
            self._is_doubted, self._step = True, 0.0
            self._begin(stale=self.bound)

    def _grow(self, now: _Latency) -> None:
        is_queueing = now.centre - self._base > _QUEUEING + now.error
        if is_queueing and self._rest:
            self._rest -= 1
            self._step = 0.0
        elif self._step < _DOUBLING and (is_queueing or self._next_rest > 1):
            self._step = _CAREFUL_GROWTH * self.bound / self._wanted
        else:
            self._step = max(self._step, _GROWTH)

    def _probe(self, now: _Latency) -> None:
        self._before = (self.bound, now)
        self._exact = max(1.0, _PROBE * self._exact)
        self._begin(stale=self._before[0])

    def _compare(self, bound: int, before: _Latency, now: _Latency) -> None:
        """End a probe, or go on with it."""
        eased = before.centre - now.centre
        shrunk = math.log(bound / self.bound)
        is_enough = eased - math.hypot(before.error, now.error) >= _EASED * shrunk
        # A bound of 1 cannot shrink, and tells nothing.
        self._has_eased |= eased >= shrunk / 2 or bound == 1
        # Only a base that a probe has found says where the waiting ends.
        is_near = self._next_rest > 1 and now.centre - self._base <= _NEAR
        if is_enough and self.bound > 1 and not is_near:
            self._probe(now)
            return
        self._before = None
        if not is_enough:
            self._exact = float(bound)
        if not (self._has_eased and is_near):
            self._base = now.centre
        self._settle()
        self._begin(stale=0)

    def _settle(self) -> None:
        """Grow at once where latency is not ours, and less and less often where it is."""
        self._age = 0
        if self._has_eased:
            self._rest, self._next_rest = self._next_rest, min(4 * self._next_rest, _MOST_REST)
        else:
            self._rest, self._next_rest = 0, 1
            self._step = _DOUBLING
