"""Making replies: the engine's words, as the request and the fault leave them, with their cost."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

from vision_pipeline.core.tokens import text_tokens
from vision_pipeline.emulator.answers import MadeReply
from vision_pipeline.emulator.bodies import ChatBody, ResponseFormat
from vision_pipeline.emulator.conversation import (
    PromptCache,
    count_prompt_tokens,
    cut_to,
    prefix_of,
    texts_of,
)
from vision_pipeline.emulator.effects import Effect, Reply, Spoil, spoiled
from vision_pipeline.emulator.grammar import Grammar, GrammarError, compile_grammar
from vision_pipeline.emulator.images import ReceivedImage
from vision_pipeline.emulator.model_list import AskedModel
from vision_pipeline.emulator.problems import invalid_request
from vision_pipeline.emulator.question import AnswerForm, Engine, Question


class Replies:
    """Asks the engine; remembers which beginnings of prompts it has read."""

    def __init__(self, engine: Engine) -> None:
        self.engine_name = engine.name
        self._engine = engine
        self._cache = PromptCache()
        self._pool = ThreadPoolExecutor(max(engine.workers, 1), thread_name_prefix="engine")

    def reset(self) -> None:
        """Forget all prompts."""
        self._cache.reset()

    def close(self) -> None:
        """Give up what waits for the engine."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def make(
        self,
        body: ChatBody,
        model: AskedModel,
        images: tuple[ReceivedImage, ...],
        effect: Effect | None,
    ) -> MadeReply:
        """The reply to a body, as its fault leaves it.

        Raises:
            RefusalError: 400 for a schema that cannot be used; or what the engine says.
        """
        text = await self._ask(body, model, images)
        reply = _limited(prefix_of(body), text, body.max_tokens)
        if isinstance(effect, Spoil):
            most_tokens = sys.maxsize if body.max_tokens is None else body.max_tokens
            reply = spoiled(reply, effect, most_tokens=most_tokens)
        return MadeReply(
            reply,
            prompt_tokens=count_prompt_tokens(body, images, model.rule),
            completion_tokens=text_tokens(reply.text),
            cached_tokens=self._cache.cached_tokens(body, model.model_id),
        )

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
