"""The plan's limits of requests and of tokens, one pair a model.

As measured on the API: bursts are allowed, tokens are debited after completion by what the reply
really cost, so that a limit can be overshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vision_pipeline.emulator.choices import LimitKind
from vision_pipeline.emulator.meters import Meter, new_meter

Rung = Literal["requests", "tokens"]


@dataclass(slots=True)
class ModelQuota:
    """The two limits of one model."""

    requests: Meter
    tokens: Meter

    def admit(self, now_s: float) -> Rung | None:
        """Count a request and return None; or the limit that refuses it, nothing being counted."""
        if self.requests.left(now_s) == 0:
            return "requests"
        if self.tokens.left(now_s) == 0:
            return "tokens"
        self.requests.spend(1, now_s)
        return None

    def settle(self, tokens: int, now_s: float) -> None:
        """Debit what a reply has cost."""
        self.tokens.spend(tokens, now_s)


class RateLimits:
    """The quotas of all models; an alias shares the quota of its model.

    Args:
        kind: How a limit is kept.
        requests_per_minute: Per model; None for no limit, 0 to refuse everything.
        tokens_per_minute: Per model; None for no limit, 0 to refuse everything.
        burst_s: How many seconds' worth a bucket holds.
    """

    def __init__(
        self,
        kind: LimitKind = "window",
        *,
        requests_per_minute: int | None,
        tokens_per_minute: int | None,
        burst_s: float = 1.0,
    ) -> None:
        self._kind: LimitKind = kind
        self._requests_per_minute = requests_per_minute
        self._tokens_per_minute = tokens_per_minute
        self._burst_s = burst_s
        self._quotas: dict[str, ModelQuota] = {}

    def of(self, model_id: str) -> ModelQuota:
        """The quota of a model, full at first."""
        quota = self._quotas.get(model_id)
        if quota is None:
            quota = self._new(self._requests_per_minute, self._tokens_per_minute)
            self._quotas[model_id] = quota
        return quota

    def none(self) -> ModelQuota:
        """A quota of 0 of both: a model that the plan does not allow."""
        return self._new(0, 0)

    def change(
        self, *, requests_per_minute: int | None, tokens_per_minute: int | None, now_s: float
    ) -> None:
        """Set other limits for all models; what was spent stays spent."""
        self._requests_per_minute = requests_per_minute
        self._tokens_per_minute = tokens_per_minute
        for quota in self._quotas.values():
            quota.requests.change(requests_per_minute, now_s)
            quota.tokens.change(tokens_per_minute, now_s)

    def _new(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> ModelQuota:
        return ModelQuota(
            new_meter(self._kind, requests_per_minute, burst_s=self._burst_s),
            new_meter(self._kind, tokens_per_minute, burst_s=self._burst_s),
        )
