"""Answering the lines of a batch: as chat requests, without limits, latency and connection."""

from __future__ import annotations

from http import HTTPStatus

import orjson

from vision_pipeline.emulator.answers import Answer, as_answer
from vision_pipeline.emulator.batch.jobs import Line, LineResult
from vision_pipeline.emulator.batch.state import BatchState
from vision_pipeline.emulator.bodies import check_body
from vision_pipeline.emulator.completions import LARGE_BODY_BYTES, Completions
from vision_pipeline.emulator.draws import Fault
from vision_pipeline.emulator.effects import Refuse
from vision_pipeline.emulator.problems import RefusalError


class LineService:
    """Answers lines.

    Args:
        state: Where faults come from and what was done is counted.
        completions: Who judges bodies and makes replies.
    """

    def __init__(self, state: BatchState, completions: Completions) -> None:
        self._state = state
        self._completions = completions

    async def answer(self, line: Line, model: str) -> LineResult:
        """What a line comes to; the job's model takes the place of the one in its body."""
        document = orjson.loads(line.raw)
        fault = self._state.draw("line", line.raw)
        try:
            body = {**document["body"], "model": model}
            answer = await self._answer(body, fault, is_large=len(line.raw) >= LARGE_BODY_BYTES)
        except RefusalError as error:
            answer = as_answer(error)
        self._keep(document, fault, answer)
        return LineResult(line, document.get("custom_id"), answer.status or 0, answer.body)

    async def _answer(
        self, body: dict[str, object], fault: Fault | None, *, is_large: bool
    ) -> Answer:
        effect = None if fault is None else fault.effect
        if isinstance(effect, Refuse):
            raise effect.error()
        asked = self._completions.ask(check_body(body))
        images = await self._completions.images(asked, is_large=is_large)
        made = await self._completions.make(asked, images, effect)
        self._state.stats.prompt_tokens += made.prompt_tokens
        self._state.stats.completion_tokens += made.completion_tokens
        return Answer(HTTPStatus.OK, self._completions.envelope(asked, made), "served")

    def _keep(self, document: object, fault: Fault | None, answer: Answer) -> None:
        if answer.status == HTTPStatus.OK:
            self._state.stats.lines_succeeded += 1
        else:
            self._state.stats.lines_failed += 1
        self._state.captures.add(
            "batch line",
            body=document,
            fault=None if fault is None else fault.kind,
            status=answer.status,
            reply=answer.body,
        )
