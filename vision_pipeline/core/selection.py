"""Which items of a source a run is about, where it is not about all of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from vision_pipeline.core.config_section import MAX_BYTES, Section, at
from vision_pipeline.core.errors import ErrorCode


def _no_number(time: Any) -> Any:  # noqa: ANN401  (whatever was given)
    # A bare number would pass as seconds since 1970: 20261101, and so would 2026.
    if not re.match(r"\s*\d{4}-", str(time)):
        raise PydanticCustomError("datetime_parsing", "a number is no time")
    return time


def in_utc(time: datetime) -> datetime:
    """A time, which is one of UTC where it does not say otherwise."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _once_each(codes: tuple[ErrorCode, ...]) -> tuple[ErrorCode, ...]:
    return tuple(sorted(set(codes)))


Time = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(in_utc)]


class Selection(Section):
    """Which items of a source; each part that is given narrows the choice, none takes all."""

    since: Time | None = Field(
        default=None,
        description="Only images changed at this time or later; UTC unless it has an offset.",
        json_schema_extra=at(0),
    )
    until: Time | None = Field(
        default=None,
        description="Only images changed before this time.",
        json_schema_extra=at(1),
    )
    date_column: str | None = Field(
        default=None,
        min_length=1,
        description="Manifest column that has the time; null: that of the image's file.",
        json_schema_extra=at(2),
    )
    start: int | None = Field(
        default=None,
        ge=0,
        le=MAX_BYTES,
        description="Only items from this place in the source on, the first being 0.",
        json_schema_extra=at(3),
    )
    stop: int | None = Field(
        default=None,
        ge=1,
        le=MAX_BYTES,
        description="Only items before this place in the source.",
        json_schema_extra=at(4),
    )
    prompt: str | None = Field(
        default=None,
        description="Only items whose latest answer is by this prompt, NAME or NAME@VERSION.",
        json_schema_extra=at(5),
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Only items whose latest answer is by this model.",
        json_schema_extra=at(6),
    )
    codes: Annotated[tuple[ErrorCode, ...], AfterValidator(_once_each)] = Field(
        default=(),
        description="Only items whose latest row is an error of one of these codes.",
        json_schema_extra=at(7),
    )

    @field_validator("prompt")
    @classmethod
    def _name_and_version(cls, prompt: str | None) -> str | None:
        if prompt is not None and not all(prompt.split("@", 1)):
            raise ValueError(f"{prompt!r} is not allowed; allowed: NAME or NAME@VERSION")
        return prompt

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if self.since and self.until and self.since >= self.until:
            raise ValueError("`until` has to be later than `since`: it is the first time left out")
        if self.start is not None and self.stop is not None and self.start >= self.stop:
            raise ValueError("`stop` has to be larger than `start`: it is the first place left out")
        if self.date_column and not self.is_dated:
            raise ValueError("`date_column` needs `since` or `until`")
        return self

    @property
    def is_all(self) -> bool:
        """Whether nothing narrows it."""
        return self == ALL

    @property
    def is_dated(self) -> bool:
        """Whether it goes by time."""
        return self.since is not None or self.until is not None

    @property
    def is_cut(self) -> bool:
        """Whether it goes by place."""
        return self.start is not None or self.stop is not None

    @property
    def looks_back(self) -> bool:
        """Whether it goes by the rows of earlier runs."""
        return bool(self.prompt or self.model or self.codes)

    def told(self) -> dict[str, Any]:
        """What narrows it, as JSON: to tell one from another, and to people."""
        return self.model_dump(mode="json", exclude_defaults=True)


ALL = Selection()
FAILED = Selection(codes=tuple(ErrorCode))
