"""What goes back for a chat request: the reply in its envelope, or an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from vision_pipeline.emulator.effects import Reply
from vision_pipeline.emulator.problems import RefusalError
from vision_pipeline.emulator.stats import Ending


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer, or none: the connection is gone and nothing can be sent.

    Attributes:
        status: HTTP status; None without an answer.
        body: Empty without an answer.
        ending: As what the request is counted.
        media_type: Of the body.
        headers: Besides those of the gateway.
    """

    status: int | None
    body: bytes
    ending: Ending
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


WITHHELD = Answer(None, b"", "faulted")
ABANDONED = Answer(None, b"", "abandoned")


@dataclass(frozen=True, slots=True)
class MadeReply:
    """A reply with what it is counted as."""

    reply: Reply
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int

    @property
    def debit_tokens(self) -> int:
        """What the token window is charged: cached tokens are not (measured, 2026-09)."""
        return self.prompt_tokens + self.completion_tokens - self.cached_tokens


def as_answer(error: RefusalError, ending: Ending = "refused") -> Answer:
    """The answer that an error carries."""
    return Answer(error.status, error.body, ending, error.media_type, error.headers)


def envelope(made: MadeReply, *, model_name: str, reply_id: str, created: int) -> bytes:
    """The JSON of a chat completion; `created` in seconds of the epoch."""
    message = {"role": "assistant", "tool_calls": None, "content": made.reply.content}
    choice = {"index": 0, "message": message, "finish_reason": made.reply.finish_reason}
    return orjson.dumps(
        {
            "id": reply_id,
            "object": "chat.completion",
            "created": created,
            "model": model_name,
            "usage": _usage(made),
            "choices": [choice],
        }
    )


def _usage(made: MadeReply) -> dict[str, Any]:
    # The keys after the first three were seen on the wire beside them, mostly null.
    return {
        "prompt_tokens": made.prompt_tokens,
        "completion_tokens": made.completion_tokens,
        "total_tokens": made.prompt_tokens + made.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": made.cached_tokens},
        "prompt_token_details": None,
        "num_cached_tokens": made.cached_tokens,
        "completion_tokens_details": None,
        "request_count": 1,
        "prompt_audio_seconds": None,
        "service_tier": None,
    }
