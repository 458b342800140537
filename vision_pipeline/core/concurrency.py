"""How many requests at once serve a server best."""

from __future__ import annotations

import math

START = 32
CAREFUL_START = 4  # on a server of which nothing is known
_RECENT = 1 / 20  # weight of the newest latency in the recent mean
_FORGETTING = 1 / 2000  # how fast the best latency is forgotten, an answer
_WARM_UP = 10  # answers before latencies say anything
_TOLERANCE = 2.0  # how much slower than at best answers may become while more are in flight
_SMOOTHING = 0.2
_CUT = 0.7
_LEAST_GRADIENT = 0.5


class Concurrency:
    """A bound that grows while latency stays, and shrinks when it rises or the server is full.

    At first it doubles with each round of answers, as TCP's slow start does. Then it follows the
    gradient of Netflix' concurrency-limits: bound · tolerance · best / recent mean of latency, plus
    its square root for growth.

    Args:
        most: Never more than this many.
        start: How many may go at once at first.
    """

    def __init__(self, most: int, *, start: int) -> None:
        self._most = most
        self._exact = float(min(most, start))
        self._is_starting = True
        self._answers = 0
        self._recent_s = 0.0
        self._best_s = math.inf

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
        self._answers += 1
        self._recent_s += max(_RECENT, 1 / self._answers) * (latency_s - self._recent_s)
        if self._answers >= _WARM_UP:
            self._best_s += _FORGETTING * max(0.0, self._recent_s - self._best_s)
            self._best_s = min(self._best_s, self._recent_s)
        if 2 * in_flight < self._exact:
            return
        gradient = self._gradient()
        if self._is_starting and gradient == 1:
            self._exact = min(self._exact + 1, float(self._most))
            return
        self._is_starting = False
        wanted = self._exact * gradient + math.sqrt(self._exact)
        self._exact += _SMOOTHING * (min(wanted, float(self._most)) - self._exact)
        if wanted >= self._most and self._most - self._exact < 1:
            self._exact = float(self._most)

    def known(self) -> None:
        """Note that the server's limits are known: nothing has to be found out carefully."""
        if self._is_starting:
            self._exact = max(self._exact, float(min(self._most, START)))

    def overloaded(self) -> None:
        """Note that the server says it is full; of several at once only the first."""
        self._is_starting = False
        self._exact = max(1.0, _CUT * self._exact)

    def _gradient(self) -> float:
        if self._answers < _WARM_UP or self._recent_s <= 0:
            return 1.0
        return min(1.0, max(_LEAST_GRADIENT, _TOLERANCE * self._best_s / self._recent_s))
