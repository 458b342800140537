"""What a batch job has brought: each answer into the ledger, each failure for its row."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from vision_pipeline.core.batch import Job, Result
from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.dialogue import read_answer
from vision_pipeline.core.errors import ItemError
from vision_pipeline.core.protocol import BrokenReplyError, read_reply
from vision_pipeline.core.records import Amount, ReceivedReply, VisionReply
from vision_pipeline.core.schema import AnswerSchema, UnusableAnswerError
from vision_pipeline.pipeline.ask import stored_reply
from vision_pipeline.pipeline.services import Services

MAX_TOLD = 2000  # characters of a failure that are kept
_OK = 200


class Found:
    """What a job has brought, so far.

    Args:
        services: Of the run: ledger, prices and the schema of answers.
        part: What the job was asked.
        job: It has ended.
        run_id: The run.

    Attributes:
        answered: Idempotency keys of the requests that have an answer.
        failures: Status and body of those that failed, by key.
        unusable: How many answers do not fit the schema.
        taken: What the answers took.
    """

    def __init__(self, services: Services, part: Part, job: Job, run_id: str) -> None:
        self.answered: set[str] = set()
        self.failures: dict[str, tuple[int, str]] = {}
        self.unusable = 0
        self.taken = Amount()
        self._services, self._part, self._run_id = services, part, run_id
        self._job = job
        ended_at = job.ended_at or datetime.now(UTC)
        begun_at = job.created_at or ended_at
        self._ended_at = ended_at
        self._took_s = max(0.0, (ended_at - begun_at).total_seconds())

    @property
    def part(self) -> Part:
        """The part, now that its job has ended and all of this is in the ledger."""
        left = self._part.payers.keys() - self.answered
        return replace(
            self._part,
            state="collected",
            payers={key: self._part.payers[key] for key in left},
            outcome=self._job.state.value,
            answered=len(self.answered),
            unusable=self.unusable,
            failures={key: told for key, told in self.failures.items() if key in left},
        )

    async def take(self, results: list[Result]) -> None:
        """Keep some of it; it is in the ledger when this returns."""
        await asyncio.gather(*(self._keep(*each) for each in self._replies(results)))

    def _replies(self, results: list[Result]) -> Iterator[tuple[str, bytes]]:
        for result in results:
            key = result.custom_id
            if key not in self._part.payers or key in self.answered:
                continue
            if result.status != _OK:
                told = result.body[: 4 * MAX_TOLD].decode(errors="replace")[:MAX_TOLD]
                self.failures[key] = (result.status, told)
                continue
            try:
                reply = read_reply(result.body)
            except BrokenReplyError as error:
                self.failures[key] = (502, str(error)[:MAX_TOLD])
                continue
            self.answered.add(key)
            self.unusable += not _is_usable(reply, self._services.question.template.schema)
            yield key, result.body

    async def _keep(self, key: str, body: bytes) -> None:
        ledger = self._services.ledger
        payer = f"{self._run_id}/{self._part.payers[key]}"
        received = ReceivedReply(
            body=body,
            attempts=1,
            queued_s=self._took_s,
            latency_s=0.0,
            answered_at=self._ended_at,
            mode="batch",
        )
        stored = stored_reply(received, payer, price=self._services.price)
        self.taken += Amount(stored.cost_usd or 0.0, stored.tokens or 0)
        known = await ledger.recall(key)
        if known is not None and known.paid_by == payer and known.received.body == body:
            return  # by a process that was killed while it collected
        await ledger.remember(key, stored, run_id=self._run_id)
        self._services.progress.calls += 1


def _is_usable(reply: VisionReply, schema: AnswerSchema | None) -> bool:
    """False where asking once more may help; an answer that was cut off stays so."""
    try:
        read_answer(reply, schema)
    except UnusableAnswerError:
        return False
    except ItemError:
        return True
    return True
