"""Which failures of a request are its own, and which may be the server's."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Failures:
    """Those of one request.

    A failure is its own where the server served another request that was sent after it. Failures
    of which nobody can say so count once until then: a server that is away for a minute fails the
    last request of a run as often as that one tries, and loses no row by it.

    Attributes:
        own: How many count as the request's own.
    """

    own: int = 0
    _latest_s: float = math.inf
    _is_proven: bool = False

    def add(self, now_s: float, *, served_s: float) -> None:
        """Note a failure.

        Args:
            now_s: When it came.
            served_s: When the latest of the requests that were served was sent; -inf before the
                first, inf where all failures are to count.
        """
        self._is_proven |= served_s > self._latest_s
        if self._is_proven or not self.own or math.isinf(served_s):
            self.own += 1
        self._latest_s = now_s

    def is_own(self, *, served_s: float) -> bool:
        """Whether the latest one is the request's, as far as is known by now."""
        return self._is_proven or served_s > self._latest_s
