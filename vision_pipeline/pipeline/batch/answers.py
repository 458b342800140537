"""Whether an answer of a batch needs another turn."""

from __future__ import annotations

from vision_pipeline.core.dialogue import read_answer
from vision_pipeline.core.errors import ItemError
from vision_pipeline.core.records import VisionReply
from vision_pipeline.core.schema import AnswerSchema, UnusableAnswerError


def is_usable(reply: VisionReply, schema: AnswerSchema | None) -> bool:
    """False where asking once more may help; an answer that was cut off stays so."""
    try:
        read_answer(reply, schema)
    except UnusableAnswerError:
        return False
    except ItemError:
        return True
    return True
