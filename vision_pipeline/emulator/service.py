"""One chat request, from body bytes to answer; knows nothing of HTTP servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Protocol

import orjson
from pydantic import ValidationError

from vision_pipeline.core.tokens import text_tokens
from vision_pipeline.emulator.answers import NO_ANSWER, Answer, MadeReply, as_answer, envelope
from vision_pipeline.emulator.bodies import ChatBody, ResponseFormat
from vision_pipeline.emulator.conversation import (
    PromptCache,
    check_conversation,
    count_prompt_tokens,
    cut_to,
    prefix_of,
    texts_of,
)
from vision_pipeline.emulator.faults import (
    FAULTS,
    Effect,
    FaultDraw,
    Garble,
    Refuse,
    Reply,
    Spoil,
    Wire,
    spoiled,
)
from vision_pipeline.emulator.grammar import Grammar, GrammarError, compile_grammar
from vision_pipeline.emulator.images import ReceivedImage, check_count, receive
from vision_pipeline.emulator.limits import RateLimits
from vision_pipeline.emulator.model_list import AskedModel, ModelList
from vision_pipeline.emulator.problems import (
    invalid_request,
    malformed_json,
    validation_errors,
)
from vision_pipeline.emulator.question import AnswerForm, Engine, Question
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


class ChatService:
    """Answers chat requests; not thread-safe, belongs to one event loop.

    Args:
        settings: Limits, latency, faults.
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
        self._settings = settings
        self._models = models
        self._engine = engine
        self._clock = clock
        self._limits = RateLimits(
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
        )
        self._faults = FaultDraw(settings.faults, seed=settings.seed)
        self._cache = PromptCache()
        self._pool = ThreadPoolExecutor(max(engine.workers, 1), thread_name_prefix="engine")

    def reset(self) -> None:
        """Begin anew: counters, windows, attempts and the prompt cache; requests in flight stay."""
        in_flight = self.stats.in_flight
        self.stats = Stats(in_flight=in_flight, max_in_flight=in_flight)
        self._limits.reset()
        self._faults.reset()
        self._cache.reset()

    def close(self) -> None:
        """Give up what waits for the engine."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def answer(self, raw: bytes, wires: Wires) -> Answer:
        """Answer one request body.

        Raises:
            RefusalError: The contract does not allow the request, or the plan not now.
        """
        started_s = self._clock()
        is_large = len(raw) >= _LARGE_BODY_BYTES
        body = await asyncio.to_thread(parse_body, raw) if is_large else parse_body(raw)
        model = self._models.ask(body.model, has_images=bool(body.image_urls()))
        quota = self._limits.of(model.model_id)
        quota.admit(started_s)
        check_conversation(body)
        images = await self._images(body, model, is_large=is_large)
        effect = self._draw(raw)
        early = await _without_reply(effect, wires)
        if early is not None:
            return early
        made = await self._make(body, model, images, effect)
        await self._wait_until(started_s + self._settings.latency_s)
        self._count(made)
        headers = quota.settle(made.debit_tokens, self._clock()) | model.headers
        sent = envelope(made, f"{self._engine.name}/{model.asked_as}")
        if isinstance(effect, Garble):
            sent = effect.edit(sent)
        return Answer(HTTPStatus.OK, sent, headers=headers)

    def _draw(self, raw: bytes) -> Effect | None:
        kind = self._faults.draw(raw)
        if kind is None:
            return None
        self.stats.faults[kind] += 1
        return FAULTS[kind]

    async def _images(
        self, body: ChatBody, model: AskedModel, *, is_large: bool
    ) -> tuple[ReceivedImage, ...]:
        urls = body.image_urls()
        check_count(len(urls), most=model.max_images)
        if is_large:
            return await asyncio.to_thread(self._receive, urls)
        return self._receive(urls)

    async def _make(
        self,
        body: ChatBody,
        model: AskedModel,
        images: tuple[ReceivedImage, ...],
        effect: Effect | None,
    ) -> MadeReply:
        text = await self._ask(body, model, images)
        reply = _limited(prefix_of(body), text, body.max_tokens)
        if isinstance(effect, Spoil):
            reply = spoiled(reply, effect)
        return MadeReply(
            reply,
            prompt_tokens=count_prompt_tokens(body, images, model.rule),
            completion_tokens=text_tokens(reply.text),
            cached_tokens=self._cache.cached_tokens(body, model.model_id),
        )

    def _receive(self, urls: list[str]) -> tuple[ReceivedImage, ...]:
        return tuple(receive(url, self._settings.url_images) for url in urls)

    async def _ask(
        self, body: ChatBody, model: AskedModel, images: tuple[ReceivedImage, ...]
    ) -> str:
        try:
            form, grammar = _form_of(body.response_format)
            question = Question(images, texts_of(body), form, grammar, model.rule)
            if self._engine.workers == 0:
                return self._engine.answer(question)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._engine.answer, question)
        except GrammarError as error:
            raise invalid_request(f"Grammar error: {error}") from error

    async def _wait_until(self, due_s: float) -> None:
        left_s = due_s - self._clock()
        if left_s > 0:
            await asyncio.sleep(left_s)

    def _count(self, made: MadeReply) -> None:
        self.stats.prompt_tokens += made.prompt_tokens
        self.stats.completion_tokens += made.completion_tokens


def parse_body(raw: bytes) -> ChatBody:
    """The request in a body.

    Raises:
        RefusalError: 422 with all errors. Parsing first and validating the objects takes half the
            time of pydantic's own JSON mode here, which copies each image for every union.
    """
    try:
        return ChatBody.model_validate(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise malformed_json(error) from error
    except ValidationError as error:
        raise validation_errors(error) from error


def _form_of(wanted: ResponseFormat | None) -> tuple[AnswerForm, Grammar | None]:
    if wanted is None or wanted.json_schema is None or wanted.type != "json_schema":
        return ("text" if wanted is None else wanted.type), None
    try:
        return "json_schema", compile_grammar(wanted.json_schema.definition)
    except GrammarError:
        if wanted.json_schema.strict:
            raise
        return "json_object", None  # without `strict` a schema constrains nothing


def _limited(prefix: str, text: str, max_tokens: int | None) -> Reply:
    """The reply as the caller's prefix and `max_tokens` leave it; a prefix is part of it."""
    whole = text if text.startswith(prefix) else prefix + text
    if max_tokens is None or text_tokens(whole) <= max_tokens:
        return Reply(whole)
    return Reply(cut_to(whole, max_tokens), finish_reason="length")


async def _without_reply(effect: Effect | None, wires: Wires) -> Answer | None:
    match effect:
        case Refuse(error):
            return as_answer(error())
        case Wire("reset"):
            await wires.reset()
            return NO_ANSWER
        case Wire("stall"):
            await wires.stall()
            return NO_ANSWER
        case _:
            return None
