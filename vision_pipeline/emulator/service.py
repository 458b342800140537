"""One chat request, from body bytes to answer; knows nothing of HTTP servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from random import Random
from typing import Protocol

from vision_pipeline.emulator.answers import WITHHELD, Answer, MadeReply, as_answer, envelope
from vision_pipeline.emulator.bodies import parse_body
from vision_pipeline.emulator.conditions import Conditions
from vision_pipeline.emulator.conversation import check_conversation
from vision_pipeline.emulator.draws import Draw, Draws
from vision_pipeline.emulator.effects import Effect, Forbid, Garble, Refuse, Slow, Wire
from vision_pipeline.emulator.faults import FAULTS
from vision_pipeline.emulator.images import ReceivedImage, check_count, receive
from vision_pipeline.emulator.latency import REFUSAL_S, vendor_latency_s
from vision_pipeline.emulator.model_list import AskedModel, ModelList
from vision_pipeline.emulator.problems import RefusalError, rate_limited
from vision_pipeline.emulator.question import Engine
from vision_pipeline.emulator.rate_headers import Account, rate_headers, retry_headers
from vision_pipeline.emulator.replies import Replies
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.emulator.stats import Stats

# From this size on a body is parsed in a thread; below, the hop costs more than the work.
_LARGE_BODY_BYTES = 1024 * 1024


class Wires(Protocol):
    """What a fault can do to the connection of a request."""

    async def reset(self) -> None:
        """Close it without an answer."""
        ...

    async def stall(self) -> None:
        """Return when the client has left, or close the connection after an hour."""
        ...


@dataclass(slots=True)
class Call:
    """One request.

    Attributes:
        wires: Its connection.
        raw: Its body.
        fault: The kind of fault that it meets; None before it is drawn, and without one.
        effect: What that fault does.
    """

    wires: Wires
    raw: bytes = b""
    fault: str | None = None
    effect: Effect | None = None

    @property
    def is_withheld(self) -> bool:
        """Whether its fault is that it gets no answer."""
        return isinstance(self.effect, Wire)


class ChatService:
    """Answers chat requests; not thread-safe, belongs to one event loop.

    Args:
        settings: Limits, latency, faults, and their changes.
        models: Who may be asked.
        engine: Who answers.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        models: ModelList,
        *,
        engine: Engine,
        clock: Callable[[], float],
    ) -> None:
        self.stats = Stats()
        self.conditions = Conditions(settings)
        self._models = models
        self._replies = Replies(engine)
        self._clock = clock
        # The time of day is counted on by the clock, which may be a test's.
        self._epoch_s = time.time() - clock()
        self._seed = settings.seed
        self._begin()

    def reset(self) -> None:
        """Begin anew, as after the start; requests in flight stay."""
        self.stats = self.stats.anew()
        self.conditions.reset()
        self._replies.reset()
        self._begin()

    def close(self) -> None:
        """Give up what waits for the engine."""
        self._replies.close()

    async def answer(self, call: Call) -> Answer:
        """Answer one request.

        Raises:
            RefusalError: The contract does not allow the request, or the plan not now.
        """
        started_s = self._clock()
        try:
            answer = await self._answer(call, started_s)
        except RefusalError:
            await self._wait_until(started_s + self._refusal_s())
            raise
        if answer.ending == "faulted" and answer.status is not None:
            await self._wait_until(started_s + self._refusal_s())
        return answer

    async def _answer(self, call: Call, started_s: float) -> Answer:
        is_large = len(call.raw) >= _LARGE_BODY_BYTES
        body = await asyncio.to_thread(parse_body, call.raw) if is_large else parse_body(call.raw)
        urls = body.image_urls()
        model = self._models.ask(body.model, has_images=bool(urls))
        self._admit(model)
        check_conversation(body)
        check_count(len(urls), most=model.max_images)
        images = await asyncio.to_thread(self._receive, urls) if is_large else self._receive(urls)
        draw = self._draw(call)
        early = await self._without_reply(call)
        if early is not None:
            return early
        made = await self._replies.make(body, model, images, call.effect)
        await self._wait_until(started_s + self._latency_s(call.effect, model, made, draw))
        headers = self._settle(model, made) | model.headers
        sent = self._envelope(made, model)
        if isinstance(call.effect, Garble):
            sent = call.effect.edit(sent)
        return Answer(HTTPStatus.OK, sent, "served", headers=headers)

    def _begin(self) -> None:
        self._draws = Draws(seed=self._seed)
        self._ids = Random(self._seed)

    def _admit(self, model: AskedModel) -> None:
        now_s = self._clock()
        self.conditions.keep_up(now_s)
        quota = self.conditions.limits.of(model.model_id)
        refused_by = quota.admit(now_s)
        if refused_by is not None:
            self.stats.rate_limited += 1
            raise self._over_limit(Account(quota, now_s, refused_by=refused_by))

    def _over_limit(self, account: Account) -> RefusalError:
        settings, quota = self.conditions.settings, account.quota
        meter = quota.tokens if account.refused_by == "tokens" else quota.requests
        return rate_limited(
            rate_headers(settings.rate_headers, account)
            | retry_headers(
                settings.retry_after,
                meter.wait_s(account.now_s),
                now=datetime.fromtimestamp(self._epoch_s + account.now_s, UTC),
            )
        )

    def _settle(self, model: AskedModel, made: MadeReply) -> dict[str, str]:
        now_s = self._clock()
        self.conditions.keep_up(now_s)
        self.stats.prompt_tokens += made.prompt_tokens
        self.stats.completion_tokens += made.completion_tokens
        quota = self.conditions.limits.of(model.model_id)
        quota.settle(made.debit_tokens, now_s)
        account = Account(quota, now_s, cost_tokens=made.debit_tokens)
        return rate_headers(self.conditions.settings.rate_headers, account)

    def _draw(self, call: Call) -> Draw | None:
        settings = self.conditions.settings
        if not settings.faults and settings.latency_model == "constant":
            return None  # spares the digest of a large body
        draw = self._draws.of(call.raw)
        kind = draw.fault(settings.faults)
        if kind is not None:
            self.stats.faults[kind] += 1
            call.fault, call.effect = kind, FAULTS[kind]
        return draw

    async def _without_reply(self, call: Call) -> Answer | None:
        match call.effect:
            case Refuse(error):
                return as_answer(error(), "faulted")
            case Forbid():
                nothing = Account(self.conditions.limits.none(), self._clock(), 0, "requests")
                return as_answer(self._over_limit(nothing), "faulted")
            case Wire("reset"):
                await call.wires.reset()
                return WITHHELD
            case Wire("stall"):
                await call.wires.stall()
                return WITHHELD
            case _:
                return None

    def _receive(self, urls: list[str]) -> tuple[ReceivedImage, ...]:
        return tuple(receive(url, self.conditions.settings.url_images) for url in urls)

    def _latency_s(
        self, effect: Effect | None, model: AskedModel, made: MadeReply, draw: Draw | None
    ) -> float:
        settings = self.conditions.settings
        if isinstance(effect, Slow):
            return settings.slow_s
        if settings.latency_model == "constant" or draw is None:
            return settings.latency_s
        drawn_s = vendor_latency_s(
            model.model_id,
            prompt_tokens=made.prompt_tokens,
            completion_tokens=made.completion_tokens,
            rng=draw.latency(),
        )
        return max(settings.latency_s, drawn_s)

    def _refusal_s(self) -> float:
        return REFUSAL_S if self.conditions.settings.latency_model == "vendor" else 0.0

    async def _wait_until(self, due_s: float) -> None:
        left_s = due_s - self._clock()
        if left_s > 0:
            await asyncio.sleep(left_s)

    def _envelope(self, made: MadeReply, model: AskedModel) -> bytes:
        return envelope(
            made,
            model_name=f"{self._replies.engine_name}/{model.asked_as}",
            reply_id=f"{self._ids.getrandbits(128):032x}",
            created=int(self._epoch_s + self._clock()),
        )
