"""The strict request body of Chat Completions; nothing but its shape is judged here.

Fields and bounds are those of the vendor's OpenAPI file (2026-08), with the sampling options that
its Python client 3.7.0 sends beyond it. An unknown field at any depth is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from vision_pipeline.emulator.problems import malformed_json, validation_errors

_BAD_IMAGE = (
    "Image content must be a URL (starting with 'https') or base64 encoded image "
    "(starting with 'data:image/<format>;base64,<image-base64>')"
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextChunk(_Strict):
    """A piece of text."""

    type: Literal["text"] = "text"
    text: str


class ImageUrl(_Strict):
    """The object form of an image address; `detail` has no effect."""

    url: str
    detail: Literal["low", "auto", "high"] | None = None


def image_url_form(value: object) -> str:
    """Which of the two forms an image address has."""
    return "str" if isinstance(value, str) else "ImageURL"


class ImageChunk(_Strict):
    """An image by `https` address or data URL, as a string or as an object."""

    type: Literal["image_url"] = "image_url"
    image_url: Annotated[
        Annotated[str, Tag("str")] | Annotated[ImageUrl, Tag("ImageURL")],
        Discriminator(image_url_form),
    ]

    @property
    def url(self) -> str:
        """The address, whichever form it came in."""
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


class ReferenceChunk(_Strict):
    """References to sources."""

    type: Literal["reference"] = "reference"
    reference_ids: list[int | str]


class ThinkingChunk(_Strict):
    """Reasoning of an earlier turn."""

    type: Literal["thinking"] = "thinking"
    thinking: list[TextChunk | ReferenceChunk]
    signature: str | None = None
    closed: bool = True


class DocumentChunk(_Strict):
    """A document by address."""

    type: Literal["document_url"] = "document_url"
    document_url: str
    document_name: str | None = None


class FileChunk(_Strict):
    """An uploaded file."""

    type: Literal["file"] = "file"
    file_id: str


class AudioChunk(_Strict):
    """A piece of sound."""

    type: Literal["input_audio"] = "input_audio"
    input_audio: str


_CHUNK_KEYS = {
    "text": "text",
    "image_url": "image_url",
    "thinking": "thinking",
    "reference_ids": "reference",
    "document_url": "document_url",
    "file_id": "file",
    "input_audio": "input_audio",
}


def chunk_type(value: object) -> str | None:
    """The type of a chunk; where it is left out, the type whose key field is there."""
    if not isinstance(value, dict):
        found = getattr(value, "type", None)
    else:
        implied = (kind for key, kind in _CHUNK_KEYS.items() if key in value)
        found = value.get("type") or next(implied, None)
    return found if isinstance(found, str) else None


def content_form(value: object) -> str:
    """Which form a message's content has."""
    return "list" if isinstance(value, list) else "str"


_Text = Annotated[TextChunk, Tag("text")]
_Thinking = Annotated[ThinkingChunk, Tag("thinking")]
Chunk = Annotated[
    _Text
    | _Thinking
    | Annotated[ImageChunk, Tag("image_url")]
    | Annotated[ReferenceChunk, Tag("reference")]
    | Annotated[DocumentChunk, Tag("document_url")]
    | Annotated[FileChunk, Tag("file")]
    | Annotated[AudioChunk, Tag("input_audio")],
    Discriminator(chunk_type),
]
SystemChunk = Annotated[_Text | _Thinking, Discriminator(chunk_type)]
SystemContent = Annotated[
    Annotated[str, Tag("str")] | Annotated[list[SystemChunk], Tag("list")],
    Discriminator(content_form),
]
Content = Annotated[
    Annotated[str | None, Tag("str")] | Annotated[list[Chunk], Tag("list")],
    Discriminator(content_form),
]


class SystemMessage(_Strict):
    """The instructions before the conversation."""

    role: Literal["system"]
    content: SystemContent


class UserMessage(_Strict):
    """What the user says and shows."""

    role: Literal["user"]
    content: Content


class AssistantMessage(_Strict):
    """An earlier answer, or the beginning of the one that is asked for."""

    role: Literal["assistant"]
    content: Content = None
    tool_calls: list[dict[str, Any]] | None = None
    prefix: bool = False


class ToolMessage(_Strict):
    """The result of a tool call."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str | None = None
    name: str | None = None


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class JsonSchemaSpec(_Strict):
    """A named schema; it constrains the answer only when `strict`."""

    name: str
    description: str | None = None
    definition: dict[str, Any] = Field(alias="schema")
    strict: bool = False


class ResponseFormat(_Strict):
    """What form the answer has to have."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchemaSpec | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is required when type is 'json_schema'")
        return self


class Prediction(_Strict):
    """What the caller expects the answer to be."""

    type: Literal["content"] = "content"
    content: str = ""


class ChatBody(_Strict):
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
        return ChatBody.model_validate(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise malformed_json(error) from error
    except ValidationError as error:
        raise validation_errors(error) from error


def _chunks_of(content: str | Sequence[Chunk] | None) -> list[Chunk]:
    if isinstance(content, str):
        return [TextChunk.model_construct(text=content)]
    return list(content or ())
