"""The wire: a request as body bytes, a body as reply. No HTTP here.

Source: the vendor's OpenAPI file of 2026-08-13 and answers recorded since; `openai` stands for
servers that follow that API (vLLM, Ollama, llama.cpp, OpenAI itself).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pybase64

from vision_pipeline.core.config import ModelConfig
from vision_pipeline.core.question import complaint_text
from vision_pipeline.core.records import LinkedImage, VisionImage, VisionReply, VisionRequest

MAX_TOKENS = 1_000_000_000
CONTENT_FILTER = "content_filter"


class BrokenReplyError(Exception):
    """A body that is no chat completion: cut off, empty, or from something in between."""


@dataclass(frozen=True, slots=True)
class BodyFormat:
    """What is the same in every request body of a run.

    Attributes:
        fields: Top-level fields in the server's own words: model, temperature, max_tokens, …
        schema: The answer's strict schema, or None for free text.
    """

    fields: Mapping[str, Any]
    schema: Mapping[str, Any] | None

    def body(self, request: VisionRequest) -> bytes:
        """The request body: UTF-8 JSON.

        The frame is encoded with a mark in place of each image, and the base64 is laid between the
        pieces: no JSON encoder runs over megabytes that cannot need escaping.
        """
        # The key is a digest of the text, so no text can hold the mark of its own request.
        mark = f"image-{request.idempotency_key}"
        frame = orjson.dumps(self._document(request, mark))
        pieces = frame.split(mark.encode())
        parts = [pieces[0]]
        for image, piece in zip(request.images, pieces[1:], strict=True):
            parts.extend(_image_url(image))
            parts.append(piece)
        return b"".join(parts)

    def _document(self, request: VisionRequest, mark: str) -> dict[str, Any]:
        document = dict(self.fields)
        document["messages"] = list(_messages(request, mark))
        if self.schema is not None:
            document["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": self.schema},
            }
        return document


def decoding_fields(model: ModelConfig) -> dict[str, Any]:
    """Decoding parameters under the names that the server knows; unset ones are left out."""
    named = {
        "temperature": model.temperature,
        "top_p": model.top_p,
        "max_tokens": model.max_tokens,
        "seed" if model.provider == "openai" else "random_seed": model.random_seed,
    }
    return {key: value for key, value in named.items() if value is not None} | model.extra_body


def _messages(request: VisionRequest, mark: str) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": "system", "content": _encodable(request.system)}
    # Text before images: the part that all requests share comes first, for the prompt cache.
    content: list[dict[str, Any]] = [{"type": "text", "text": _encodable(request.text)}]
    content += [{"type": "image_url", "image_url": {"url": mark}} for _ in request.images]
    yield {"role": "user", "content": content}
    for turn in request.turns:
        if turn.reply_text:  # the API refuses an assistant message without content
            yield {"role": "assistant", "content": _encodable(turn.reply_text)}
        yield {"role": "user", "content": _encodable(complaint_text(turn.complaint))}


def _encodable(text: str) -> str:
    # Half a surrogate pair is a Python string, but no Unicode text.
    return text.encode("utf-8", "replace").decode()


def _image_url(image: VisionImage) -> tuple[bytes, ...]:
    if isinstance(image, LinkedImage):
        return (orjson.dumps(_encodable(image.url))[1:-1],)
    return (f"data:{image.media_type};base64,".encode(), pybase64.b64encode(image.data))


def read_reply(body: bytes) -> VisionReply:
    """Read a chat completion, tolerant of what servers add, omit or wrap.

    Raises:
        BrokenReplyError: No JSON, or JSON without a choice.
    """
    try:
        document = load_json(body)
        choice = document["choices"][0]
        message = choice["message"]
        content, refused = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BrokenReplyError(f"no chat completion: {excerpt(body)}") from None
    usage = document.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    reason = choice.get("finish_reason")
    if content is None and isinstance(refused, str):  # OpenAI's word for a declined answer
        content, reason = refused, CONTENT_FILTER
    return VisionReply(
        text=_text(content),
        finish_reason=_encodable(reason) if isinstance(reason, str) else None,
        model=_encodable(str(document.get("model") or "")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_cached_tokens(usage),
    )


def load_json(body: bytes) -> Any:  # noqa: ANN401  (any JSON)
    """What a body holds, also where a string ends in half a character.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # The stricter parser refuses half a surrogate pair, which a cut-off emoji leaves behind.
        return json.loads(body)


def _text(content: object) -> str | None:
    # Reasoning models answer with a list of chunks; only the text chunks are the answer.
    if isinstance(content, list):
        chunks = (chunk for chunk in content if isinstance(chunk, dict))
        content = "".join(str(c.get("text") or "") for c in chunks if c.get("type") == "text")
    return _encodable(content) if isinstance(content, str) else None


def _cached_tokens(usage: Mapping[str, Any]) -> int:
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return _count(cached if cached is not None else usage.get("num_cached_tokens"))


def _count(value: object) -> int:
    # A count beyond any context length is nonsense, and would break sums and columns.
    return int(value) if isinstance(value, int | float) and 0 < value < MAX_TOKENS else 0


def excerpt(body: bytes, *, max_chars: int = 300) -> str:
    """The start of a body for a message: one line, decoded as far as it goes."""
    text = " ".join(body[: max_chars * 4].decode("utf-8", "replace").split())
    return text if len(text) <= max_chars else text[:max_chars] + "…"
