"""What all sections of the configuration share."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

MAX_BYTES = 2**40


def at(position: int, **extra: object) -> dict[str, Any]:
    """Schema extras: forms show fields in the order of `position`."""
    return {"position": position, **extra}


def _refusal(expects: Any) -> str:  # noqa: ANN401  (an annotation)
    if get_origin(expects) is Literal:
        allowed = ", ".join(map(repr, get_args(expects)))
        return f"not allowed; allowed: {allowed}"
    return "neither a number nor text"


def _title(section: type[Any]) -> str:
    """What forms call a section: `SourceConfig` is `Source`."""
    return section.__name__.removesuffix("Config")


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, model_title_generator=_title
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        # YAML reads `yes` and `on` as true, and true would pass as 1.
        expects = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and expects is not bool:
            raise ValueError(
                f"{str(value).lower()} is {_refusal(expects)} (so YAML reads a bare yes, no, on or "
                "off; text of this kind stands in quotes)"
            )
        return value
