"""One chat request, from body bytes to answer; knows nothing of HTTP servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

from vision_pipeline.emulator.answers import WITHHELD, Answer, MadeReply, as_answer
from vision_pipeline.emulator.bodies import parse_body
from vision_pipeline.emulator.completions import LARGE_BODY_BYTES, Completions
from vision_pipeline.emulator.conditions import Conditions
from vision_pipeline.emulator.draws import Draw, Draws
from vision_pipeline.emulator.effects import Effect, Forbid, Garble, Refuse, Slow, Wire
from vision_pipeline.emulator.faults import FAULTS
from vision_pipeline.emulator.latency import REFUSAL_S, vendor_latency_s
from vision_pipeline.emulator.model_list import AskedModel
from vision_pipeline.emulator.problems import RefusalError, rate_limited
from vision_pipeline.emulator.rate_headers import Account, rate_headers, retry_headers
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.emulator.stats import Stats


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
        completions: Who judges bodies and makes replies.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        completions: Completions,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.stats = Stats()
        self.conditions = Conditions(settings)
        self._completions = completions
        self._clock = clock
        self._seed = settings.seed
        self._draws = Draws(seed=self._seed)

    def reset(self) -> None:
        """Begin anew, as after the start; requests in flight stay."""
        self.stats = self.stats.anew()
        self.conditions.reset()
        self._completions.reset()
        self._draws = Draws(seed=self._seed)

    def close(self) -> None:
        """Give up what waits for the engine."""
        self._completions.close()

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
        is_large = len(call.raw) >= LARGE_BODY_BYTES
        body = await asyncio.to_thread(parse_body, call.raw) if is_large else parse_body(call.raw)
        asked = self._completions.ask(body)
        model = asked.model
        self._admit(model)
        images = await self._completions.images(asked, is_large=is_large)
        draw = self._draw(call)
        early = await self._without_reply(call)
        if early is not None:
            return early
        made = await self._completions.make(asked, images, call.effect)
        await self._wait_until(started_s + self._latency_s(call.effect, model, made, draw))
        headers = self._settle(model, made) | model.headers
        sent = self._completions.envelope(asked, made)
        if isinstance(call.effect, Garble):
            sent = call.effect.edit(sent)
        return Answer(HTTPStatus.OK, sent, "served", headers=headers)

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
                now=datetime.fromtimestamp(self._completions.epoch_s + account.now_s, UTC),
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
        kind = draw.fault(settings.faults, FAULTS)
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
