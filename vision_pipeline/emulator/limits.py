"""The plan's limits: sliding windows of 60 s for requests and for tokens, one pair a model.

As measured on the API: bursts are allowed, tokens are debited after completion by what the reply
really cost, so that a window can overshoot, and no answer says when to come back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from vision_pipeline.emulator.problems import rate_limited

WINDOW_S = 60.0


@dataclass(slots=True)
class SlidingWindow:
    """What was spent in the last 60 s, against a limit; None is no limit."""

    limit: int | None
    _spent: deque[tuple[float, int]] = field(default_factory=deque)
    _total: int = 0

    def remaining(self, now_s: float) -> int | None:
        """What is left at this moment, never below 0; None without a limit."""
        while self._spent and self._spent[0][0] <= now_s - WINDOW_S:
            self._total -= self._spent.popleft()[1]
        return None if self.limit is None else max(0, self.limit - self._total)

    def spend(self, amount: int, now_s: float) -> None:
        """Debit an amount, even beyond the limit."""
        if self.limit is not None:
            self._spent.append((now_s, amount))
            self._total += amount

    def headers(self, name: str, now_s: float) -> dict[str, str]:
        """The pair of headers of this window; none without a limit."""
        remaining = self.remaining(now_s)
        if remaining is None:
            return {}
        return {
            f"x-ratelimit-limit-{name}-minute": str(self.limit),
            f"x-ratelimit-remaining-{name}-minute": str(remaining),
        }


@dataclass(slots=True)
class ModelQuota:
    """The two windows of one model."""

    requests: SlidingWindow
    tokens: SlidingWindow

    def admit(self, now_s: float) -> None:
        """Count a request, or refuse it.

        Raises:
            RefusalError: 429; refused by requests, it carries no token headers, so that the
                headers name the window that is used up.
        """
        if self.requests.remaining(now_s) == 0:
            raise rate_limited(self.requests.headers("req", now_s))
        if self.tokens.remaining(now_s) == 0:
            raise rate_limited(self._headers(now_s, cost=0))
        self.requests.spend(1, now_s)

    def settle(self, tokens: int, now_s: float) -> dict[str, str]:
        """Debit what a reply has cost, and return the headers of its answer."""
        self.tokens.spend(tokens, now_s)
        return self._headers(now_s, cost=tokens)

    def _headers(self, now_s: float, *, cost: int) -> dict[str, str]:
        return {
            **self.requests.headers("req", now_s),
            **self.tokens.headers("tokens", now_s),
            "x-ratelimit-tokens-query-cost": str(cost),
        }


class RateLimits:
    """The quotas of all models; an alias shares the quota of its model.

    Args:
        requests_per_minute: Per model; None for no limit.
        tokens_per_minute: Per model; None for no limit.
    """

    def __init__(self, *, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._requests_per_minute = requests_per_minute
        self._tokens_per_minute = tokens_per_minute
        self._quotas: dict[str, ModelQuota] = {}

    def of(self, model_id: str) -> ModelQuota:
        """The quota of a model, full at first."""
        if model_id not in self._quotas:
            self._quotas[model_id] = ModelQuota(
                SlidingWindow(self._requests_per_minute), SlidingWindow(self._tokens_per_minute)
            )
        return self._quotas[model_id]

    def reset(self) -> None:
        """Forget everything spent."""
        self._quotas.clear()
