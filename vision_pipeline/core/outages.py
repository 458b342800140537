"""Whether requests fail by themselves, or the server does."""

from __future__ import annotations

LEAST_WAIT_S = 1.0
MOST_WAIT_S = 15.0
_SHARE = 1 / 32  # of an outage that may pass unnoticed at its end
# Requests that fail one after the other, with no answer in between. Fewer may be what the server
# fails on; each of them outlasts an outage by itself (`core/failures.py`).
_REQUESTS = 8


class Outage:
    """A state of the server in which nothing is answered.

    Attributes:
        since_s: When the first of the failures came; None while there is no outage.
        first_s: When the first of the latest failures without an answer in between came.
    """

    def __init__(self) -> None:
        self.since_s: float | None = None
        self.first_s = 0.0
        self._requests: set[int] = set()  # that failed since the latest answer

    def answered(self) -> None:
        """Note any answer that is no failure of the server."""
        self.since_s = None
        self._requests.clear()

    def failed(self, request: int, now_s: float) -> None:
        """Note a failure that may pass, of the request of that number."""
        if not self._requests:
            self.first_s = now_s
        self._requests.add(request)
        if len(self._requests) >= _REQUESTS:
            self.since_s = self.first_s

    def wait_s(self, now_s: float) -> float:
        """How long to wait in an outage until one request tries again, in seconds."""
        return min(MOST_WAIT_S, max(LEAST_WAIT_S, _SHARE * (now_s - self.first_s)))
