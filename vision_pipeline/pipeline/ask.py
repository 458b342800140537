"""One question, paid for once: ledger first, then the model, and the reply stored before use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.models import Price
from vision_pipeline.core.protocol import BrokenReplyError, read_reply
from vision_pipeline.core.records import (
    Amount,
    ReceivedReply,
    StoredReply,
    VisionReply,
    VisionRequest,
)
from vision_pipeline.pipeline.budget import Budget
from vision_pipeline.pipeline.services import Services


@dataclass(slots=True)
class Spending:
    """What one row was charged for, over all its turns."""

    attempts: int = 0
    queued_s: float = 0.0
    latency_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    paid: bool = False
    last: StoredReply | None = None
    last_reply: VisionReply | None = None

    def add(self, stored: StoredReply, reply: VisionReply, *, paid: bool) -> None:
        """Count one turn."""
        self.attempts += stored.received.attempts
        self.queued_s += stored.received.queued_s
        self.latency_s += stored.received.latency_s
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.cached_tokens += reply.cached_tokens
        if stored.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + (stored.cost_usd if paid else 0.0)
        self.paid = self.paid or paid
        self.last, self.last_reply = stored, reply


@dataclass(slots=True)
class Asker:
    """Asks for the items of one run; shared by its shards.

    Shards begin their items one shard after the other, so that the slow last items of one hold
    nobody up; `feeding` is whose turn it is.

    A question that is already in flight is not sent a second time: whoever comes later waits for
    the first one's reply and finds it in the ledger.
    """

    services: Services
    run_id: str
    budget: Budget
    feeding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _in_flight: dict[str, asyncio.Event] = field(default_factory=dict)

    async def ask(
        self, request: VisionRequest, *, item_id: str, spending: Spending, renew: bool = False
    ) -> VisionReply:
        """The reply to a request, from the ledger or from the model.

        Args:
            request: What to ask.
            item_id: Who pays.
            spending: Gets what it cost.
            renew: Take no reply of an earlier run.

        Raises:
            ItemError: The provider refuses the request, or failed for too long.
            RunError: Nothing more can be asked.
        """
        payer = f"{self.run_id}/{item_id}"
        stored = await self._stored(request, payer, renew=renew)
        try:
            reply = read_reply(stored.received.body)
        except BrokenReplyError as error:
            raise ItemError(ErrorCode.INVALID_ANSWER, str(error)) from error
        spending.add(stored, reply, paid=stored.paid_by == payer)
        return reply

    async def knows(self, request: VisionRequest) -> bool:
        """Whether the ledger has a reply to a request."""
        return await self.services.ledger.recall(request.idempotency_key) is not None

    async def _stored(self, request: VisionRequest, payer: str, *, renew: bool) -> StoredReply:
        key = request.idempotency_key
        while (others := self._in_flight.get(key)) is not None:
            await others.wait()
        arrived = self._in_flight[key] = asyncio.Event()
        try:
            known = await self.services.ledger.recall(key)
            if known is not None and self._reusable(known, renew=renew):
                return known
            return await self._pay(request, payer)
        finally:
            del self._in_flight[key]
            arrived.set()

    def _reusable(self, known: StoredReply, *, renew: bool) -> bool:
        # A fresh run asks again, but not for what it has itself paid for before it was cut off.
        is_renewed = renew or self.services.fresh
        return not is_renewed or known.paid_by.startswith(f"{self.run_id}/")

    async def _pay(self, request: VisionRequest, payer: str) -> StoredReply:
        services = self.services
        if services.stop.cause is not None:  # nothing new is paid for, also no repair turn
            raise services.stop.cause
        reserved = await self.budget.reserve(request)
        try:
            body = services.body_format.body(request)
            received = await services.model.ask(body, estimated_tokens=request.estimated_tokens)
        except BaseException:
            self.budget.settle(reserved, Amount())
            raise
        stored = stored_reply(received, payer, price=services.price)
        # Shielded: a reply that was paid for is stored even if the run is being cancelled.
        keeping = asyncio.ensure_future(
            services.ledger.remember(request.idempotency_key, stored, run_id=self.run_id)
        )
        keeping.add_done_callback(_heard)
        with services.progress.activity.stores():
            await asyncio.shield(keeping)
        services.progress.calls += 1
        # Where nobody knows what it took, it may have been all that was set aside.
        tokens = stored.tokens
        taken = reserved.amount if tokens is None else Amount(stored.cost_usd or 0.0, tokens)
        self.budget.settle(reserved, taken)
        services.progress.budget_left = self.budget.left()
        return stored


def _heard(keeping: asyncio.Future[None]) -> None:
    """Take note of a failure that nobody waits for any more: the run ends for another one."""
    if not keeping.cancelled():
        keeping.exception()


def stored_reply(received: ReceivedReply, paid_by: str, *, price: Price | None) -> StoredReply:
    """A reply as the ledger is to keep it: with what it cost, and the tokens that it took."""
    try:
        reply = read_reply(received.body)
    except BrokenReplyError:  # the model adapter let it pass: what it took is unknown
        return StoredReply(received, paid_by, None)
    if price is None:
        return StoredReply(received, paid_by, None, reply.tokens)
    price = price.batch_price if received.mode == "batch" else price
    cost_usd = price.cost_usd(
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        cached_tokens=reply.cached_tokens,
    )
    return StoredReply(received, paid_by, cost_usd, reply.tokens)
