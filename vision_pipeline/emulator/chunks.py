"""The pieces that the content of a message is made of, as the request body has them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag


class Strict(BaseModel):
    """An object in which an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextChunk(Strict):
    """A piece of text."""

    type: Literal["text"] = "text"
    text: str


class ImageUrl(Strict):
    """The object form of an image address; `detail` has no effect."""

    url: str
    detail: Literal["low", "auto", "high"] | None = None


def image_url_form(value: object) -> str:
    """Which of the two forms an image address has."""
    return "str" if isinstance(value, str) else "ImageURL"


class ImageChunk(Strict):
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


class ReferenceChunk(Strict):
    """References to sources."""

    type: Literal["reference"] = "reference"
    reference_ids: list[int | str]


class ThinkingChunk(Strict):
    """Reasoning of an earlier turn."""

    type: Literal["thinking"] = "thinking"
    thinking: list[TextChunk | ReferenceChunk]
    signature: str | None = None
    closed: bool = True


class DocumentChunk(Strict):
    """A document by address."""

    type: Literal["document_url"] = "document_url"
    document_url: str
    document_name: str | None = None


class FileChunk(Strict):
    """An uploaded file."""

    type: Literal["file"] = "file"
    file_id: str


class AudioChunk(Strict):
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
