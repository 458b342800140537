"""The strict request body of Chat Completions; nothing but its shape is judged here.

Fields and bounds are those of the vendor's OpenAPI file (2026-08), with the sampling options that
its Python client 3.7.0 sends beyond it. An unknown field at any depth is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import Field, ValidationError, model_validator

from vision_pipeline.emulator.chunks import (
    Chunk,
    Content,
    ImageChunk,
    Strict,
    SystemContent,
    TextChunk,
)
from vision_pipeline.emulator.problems import malformed_json, validation_errors

_BAD_IMAGE = (
    "Image content must be a URL (starting with 'https') or base64 encoded image "
    "(starting with 'data:image/<format>;base64,<image-base64>')"
)


class SystemMessage(Strict):
    """The instructions before the conversation."""

    role: Literal["system"]
    content: SystemContent


class UserMessage(Strict):
    """What the user says and shows."""

    role: Literal["user"]
    content: Content


class AssistantMessage(Strict):
    """An earlier answer, or the beginning of the one that is asked for."""

    role: Literal["assistant"]
    content: Content = None
    tool_calls: list[dict[str, Any]] | None = None
    prefix: bool = False


class ToolMessage(Strict):
    """The result of a tool call."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str | None = None
    name: str | None = None


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class JsonSchemaSpec(Strict):
    """A named schema; it constrains the answer only when `strict`."""

    name: str
    description: str | None = None
    definition: dict[str, Any] = Field(alias="schema")
    strict: bool = False


class ResponseFormat(Strict):
    """What form the answer has to have."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchemaSpec | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is required when type is 'json_schema'")
        return self


class Prediction(Strict):
    """What the caller expects the answer to be."""

    type: Literal["content"] = "content"
    content: str = ""


class ChatBody(Strict):
    """One request; fields that only steer sampling are checked and have no effect."""

    model: str
    messages: list[Message] = Field(min_length=1)
    temperature: float | None = Field(default=None, ge=0, le=1.5)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=0)
    min_tokens: int | None = Field(default=None, ge=0)
    stream: bool | None = None
    stop: str | list[str] | None = None
    random_seed: int | None = Field(default=None, ge=0)
    metadata: dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none", "any", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = None
    top_k: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    prompt_logprobs: bool | int | None = None
    top_prompt_logprobs: int | None = None
    n: int | None = Field(default=None, ge=1)
    prediction: Prediction | None = None
    reasoning_effort: str | None = None
    prompt_mode: Literal["reasoning"] | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    safe_prompt: bool | None = None
    guardrails: list[dict[str, Any]] | None = None

    def chunks(self) -> list[Chunk]:
        """All chunks of all messages in order, a plain string being one text chunk."""
        return self._chunks

    @cached_property
    def _chunks(self) -> list[Chunk]:
        return [chunk for message in self.messages for chunk in _chunks_of(message.content)]

    def image_urls(self) -> list[str]:
        """The addresses of all images in order."""
        return [chunk.url for chunk in self.chunks() if isinstance(chunk, ImageChunk)]

    @model_validator(mode="after")
    def _images_have_a_known_form(self) -> Self:
        if not all(url.startswith(("https", "data:image/")) for url in self.image_urls()):
            raise ValueError(_BAD_IMAGE)
        return self


def parse_body(raw: bytes) -> ChatBody:
    """The request in a body.

    Raises:
        RefusalError: 422 with all errors. Parsing first and validating the objects takes half the
            time of pydantic's own JSON mode here, which copies each image for every union.
    """
    try:
        return check_body(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise malformed_json(error) from error


def check_body(document: object) -> ChatBody:
    """The request in parsed JSON.

    Raises:
        RefusalError: 422 with all errors.
    """
    try:
        return ChatBody.model_validate(document)
    except ValidationError as error:
        raise validation_errors(error) from error


def _chunks_of(content: str | Sequence[Chunk] | None) -> list[Chunk]:
    if isinstance(content, str):
        return [TextChunk.model_construct(text=content)]
    return list(content or ())
