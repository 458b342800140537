"""What is asked, and asked again: the repair policy as a generator that does no IO."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.protocol import CONTENT_FILTER
from vision_pipeline.core.question import repair
from vision_pipeline.core.records import VisionReply, VisionRequest
from vision_pipeline.core.schema import AnswerSchema, UnusableAnswerError

FREE_TEXT_COLUMN = "answer"
# Raise it when the same reply comes to be read otherwise: stored ones can then be read again.
READING_VERSION = 1

_CUT = {"length", "model_length"}  # Mistral's two words for an answer that ran out of room
_BROKEN = {"error"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A usable answer: column values by name."""

    values: Mapping[str, Any]
    repaired: bool


Dialogue = Generator[VisionRequest, VisionReply, Answer]


def dialogue(request: VisionRequest, schema: AnswerSchema | None) -> Dialogue:
    """Ask once, and once more if the answer does not fit the schema.

    Raises:
        ItemError: `truncated_answer`, `content_filtered` or `invalid_answer`.
    """
    reply = yield request
    try:
        return Answer(read_answer(reply, schema), repaired=False)
    except UnusableAnswerError as fault:
        complaint = str(fault)
    reply = yield repair(request, reply_text=reply.text or "", complaint=complaint)
    try:
        return Answer(read_answer(reply, schema), repaired=True)
    except UnusableAnswerError as fault:
        raise ItemError(ErrorCode.INVALID_ANSWER, f"after one repair: {fault}") from None


def read_answer(
    reply: VisionReply, schema: AnswerSchema | None, *, drops_others: bool = False
) -> Mapping[str, Any]:
    """The values of an answer, by column.

    Args:
        reply: What the model said.
        schema: What was promised, or None for free text.
        drops_others: As in `AnswerSchema.parse`.

    Raises:
        UnusableAnswerError: It is none; asking once more may help.
        ItemError: `truncated_answer` or `content_filtered`: the same question ends so again.
    """
    if reply.finish_reason in _CUT:
        detail = f"cut after {reply.completion_tokens} tokens; raise model.max_tokens"
        raise ItemError(ErrorCode.TRUNCATED_ANSWER, detail)
    if reply.finish_reason == CONTENT_FILTER:
        raise ItemError(ErrorCode.CONTENT_FILTERED, "the provider's filter stopped the answer")
    if reply.finish_reason in _BROKEN:
        raise UnusableAnswerError("the answer was broken off by an error of the server")
    if reply.text is None or not reply.text.strip():
        raise UnusableAnswerError("the answer is empty")
    if schema is None:
        return {FREE_TEXT_COLUMN: reply.text}
    return schema.parse(reply.text, drops_others=drops_others)
