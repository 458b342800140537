"""Whether requests fail by themselves, or the server does."""

from __future__ import annotations

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 8.0
_ROW = 8  # failures one after the other, with no answer in between
_REQUESTS = 3  # by how many requests; one alone may be what the server fails on


class Outage:
    """A state of the server in which nothing is answered.

    Attributes:
        since_s: When the first of the failures came; None while there is no outage.
        cause: What the latest failure said.
    """

    def __init__(self) -> None:
        self.since_s: float | None = None
        self.cause = ""
        self._first_s = 0.0
        self._row = 0
        self._requests: set[int] = set()
        self._tries = 0

    def answered(self) -> None:
        """Note any answer that is no failure of the server."""
        if self._row:
            self.since_s = None
            self._row = self._tries = 0
            self._requests.clear()

    def failed(self, request: int, cause: str, now_s: float) -> None:
        """Note a failure that may pass, of the request of that number."""
        if not self._row:
            self._first_s = now_s
        self.cause = cause
        self._row += 1
        self._requests.add(request)
        if self.since_s is not None:
            self._tries += 1
        elif self._row >= _ROW and len(self._requests) >= _REQUESTS:
            self.since_s = self._first_s
            self._requests.clear()

    @property
    def wait_s(self) -> float:
        """How long to wait after the latest failure until one request tries again."""
        return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._tries, 32))
