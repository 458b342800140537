"""What may be said to the endpoints of files and batch jobs: bodies, queries, lines of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vision_pipeline.emulator.batch.files import (
    MIMETYPE,
    Content,
    Draft,
    SampleType,
    StoredFile,
)
from vision_pipeline.emulator.batch.timeline import Status
from vision_pipeline.emulator.problems import RefusalError, object_error, validation_errors

_MOST_INLINE = 10_000
_MOST_ERRORS = 100  # of a file; how many the API names is not known

_Page = Annotated[int, Field(ge=0)]
_PageSize = Annotated[int, Field(ge=1)]
_Label = Annotated[str, Field(min_length=1, max_length=32)]
_Value = Annotated[str, Field(min_length=1, max_length=512)]


class InlineLine(BaseModel):
    """A request inside the request for a job."""

    custom_id: str | None = None
    body: dict[str, Any]


class JobOrder(BaseModel):
    """`POST /v1/batch/jobs`; unknown fields are let pass (the OpenAPI file does not forbid them).

    Attributes:
        endpoint: The only one that this emulator answers.
        timeout_hours: 1 to 168.
    """

    model_config = ConfigDict(frozen=True)

    endpoint: Literal["/v1/chat/completions"]
    model: str
    input_files: list[str] | None = None
    requests: Annotated[list[InlineLine], Field(max_length=_MOST_INLINE)] | None = None
    metadata: dict[_Label, _Value] | None = None
    timeout_hours: int = Field(default=24, ge=1, le=168)

    @model_validator(mode="after")
    def _has_one_kind_of_input(self) -> Self:
        if bool(self.input_files) == bool(self.requests):
            raise ValueError("Exactly one of input_files and requests must be given")
        return self


class JobQuery(BaseModel):
    """`GET /v1/batch/jobs`.

    A filter of metadata comes as one JSON object, or as the vendor's client sends it: a parameter
    of its own for each key.
    """

    page: _Page = 0
    page_size: _PageSize = 100
    model: str | None = None
    agent_id: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    created_after: datetime | None = None
    created_by_me: bool = False
    status: list[Status] | None = None
    order_by: Literal["created", "-created"] = "-created"

    @model_validator(mode="before")
    @classmethod
    def _gathers_metadata(cls, values: dict[str, Any]) -> dict[str, Any]:
        named = {key: value for key, value in values.items() if key in cls.model_fields}
        others = {key: value for key, value in values.items() if key not in named}
        try:
            given = orjson.loads(named.get("metadata", "{}"))
        except orjson.JSONDecodeError:
            raise ValueError("metadata is not a JSON object") from None
        return named | {"metadata": given | others if isinstance(given, dict) else given}


class FileQuery(BaseModel):
    """`GET /v1/files`."""

    page: _Page = 0
    page_size: _PageSize = 100
    include_total: bool = True
    sample_type: list[SampleType] | None = None
    source: list[Literal["upload", "repository", "mistral"]] | None = None
    search: str | None = None
    purpose: str | None = None
    mimetypes: list[str] | None = None

    def fits(self, file: StoredFile) -> bool:
        """Whether a file is one of those that are asked for."""
        return (
            (self.sample_type is None or file.sample_type in self.sample_type)
            and (self.source is None or file.source in self.source)
            and (self.search is None or self.search in file.name)
            and self.purpose in (None, "batch")
            and (self.mimetypes is None or MIMETYPE in self.mimetypes)
        )


class Upload(BaseModel):
    """The fields of `POST /v1/files` beside the file; other purposes are not emulated."""

    purpose: Literal["batch"]
    expiry: int | None = Field(default=None, ge=1)
    visibility: Literal["workspace", "user"] = "workspace"


class UrlQuery(BaseModel):
    """`GET /v1/files/{id}/url`."""

    expiry: int = Field(default=24, ge=1, le=168)


class JobView(BaseModel):
    """`GET /v1/batch/jobs/{id}`."""

    inline: bool | None = None


class _Message(BaseModel):
    role: Literal["system", "user", "assistant", "tool"]


class _Body(BaseModel):
    messages: list[_Message] | None = Field(default=None, min_length=1)
    max_tokens: int | None = Field(default=None, ge=0)
    temperature: float | None = Field(default=None, ge=0, le=1.5)


class _Line(BaseModel):
    custom_id: str | None = None
    body: _Body


Fields = TypeVar("Fields", bound=BaseModel)

_LISTS = ("status", "sample_type", "source", "mimetypes")


def parse_order(raw: bytes) -> JobOrder:
    """The body of a request for a job.

    Raises:
        RefusalError: 422 with all errors.
    """
    try:
        return JobOrder.model_validate_json(raw)
    except ValidationError as error:
        raise validation_errors(error) from error


def parse_fields(
    kind: type[Fields], pairs: Iterable[tuple[str, object]], *, where: str = "query"
) -> Fields:
    """The parameters of an address, or the fields of a form.

    Raises:
        RefusalError: 422 with all errors.
    """
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in _LISTS:
            values.setdefault(key, []).append(value)
        else:
            values[key] = value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise validation_errors(error, where=where) from error


def take_lines(source: Iterable[bytes], draft: Draft) -> Content:
    """Copy an uploaded file.

    Only what was seen to refuse a file is looked for; all else shows when a line runs.

    Raises:
        RefusalError: 422 with the faults of all lines; nothing is kept.
    """
    errors: list[dict[str, Any]] = []
    draft.extend(_checked(source, errors))
    content = draft.content()
    if not content.starts:
        errors.append({"message": "The file is empty", "line_number": 1})  # inferred
    if errors:
        draft.discard()
        raise _invalid_file(errors)
    return content


def _checked(source: Iterable[bytes], errors: list[dict[str, Any]]) -> Iterator[bytes]:
    for number, raw in enumerate(source, start=1):
        if not raw.isspace() and (fault := _fault_of(raw)):
            errors.append({"message": fault, "line_number": number})
        yield raw


def _fault_of(raw: bytes) -> str | None:
    """What is wrong with a line; the words are inferred."""
    try:
        _Line.model_validate(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        return f"Invalid JSON: {error}"
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    return None


def _invalid_file(errors: list[dict[str, Any]]) -> RefusalError:
    found = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
    return object_error(
        422,
        detail="Invalid file format.",
        description=f"Found {found} in this file. Fix the lines below and upload it again.",
        errors=errors[:_MOST_ERRORS],
    )
