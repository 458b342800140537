"""Who asks in a run by batches: one that notes requests, and one for what the batches left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from vision_pipeline.core.errors import ErrorCode, ItemError, RetryableError
from vision_pipeline.core.rate_headers import RateHeaders
from vision_pipeline.core.records import StoredReply, VisionRequest
from vision_pipeline.core.refusals import refusal
from vision_pipeline.pipeline.ask import Asker

_IN_NO_JOB = (
    "no batch job was asked this, or none has answered it: where its image or its columns have "
    "changed since the jobs were submitted, the next run asks about it"
)


class Noted(Exception):  # noqa: N818  (no error: the request goes with a batch)
    """What would be asked is noted."""


@dataclass(slots=True)
class NotingAsker(Asker):
    """Takes replies from the ledger, and notes what would be paid for instead of paying."""

    note: Callable[[VisionRequest, str], Awaitable[None]] = field(kw_only=True)

    async def _pay(self, request: VisionRequest, payer: str) -> StoredReply:
        if self.services.stop.cause is not None:
            raise self.services.stop.cause
        await self.note(request, payer)
        raise Noted


@dataclass(slots=True)
class LeftoverAsker(Asker):
    """Takes replies from the ledger; where batches left none, tells why, or asks in real time.

    Attributes:
        failures: Status and body of requests that failed, by idempotency key.
        pays: Whether what may pass is asked in real time.
    """

    failures: Mapping[str, tuple[int, str]] = field(kw_only=True)
    pays: bool = field(kw_only=True)

    async def _pay(self, request: VisionRequest, payer: str) -> StoredReply:
        failed = self.failures.get(request.idempotency_key)
        if failed is not None:
            error = failure_of(*failed)
            if not (self.pays and error.code.is_transient):
                raise error
        if self.pays:
            return await Asker._pay(self, request, payer)  # no `super`: of a class with slots
        if request.turns:
            raise ItemError(ErrorCode.INVALID_ANSWER, request.turns[-1].complaint)
        raise ItemError(ErrorCode.TIMEOUT, _IN_NO_JOB)


def failure_of(status: int, body: str) -> ItemError:
    """Why a line of a batch has no answer, as its row tells it: as if asked in real time."""
    error = refusal(status, body.encode(), rate=RateHeaders(), has_served=True)
    if isinstance(error, ItemError):
        return error
    code = error.code if isinstance(error, RetryableError) else ErrorCode.MODEL_UNAVAILABLE
    return ItemError(code, f"in a batch job: {error}")
