"""What is wrong with a configuration, in the words of whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.databases import without_passwords
from vision_pipeline.core.suggestions import nearest

MAX_SHOWN = 80  # characters of a value in a message

_SECTION = "keys and values"
_KINDS = {
    "model_type": _SECTION,
    "dict_type": _SECTION,
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list, such as [a, b]",
}
_NUMBERS = ("int_", "float_", "greater_than", "less_than", "finite_number")
# pydantic's names of bounds, and how they read.
_BOUNDS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}


def explain(fault: Mapping[str, Any], *, root: type[BaseModel] = RunConfig) -> str:
    """One line for a fault as pydantic tells it: key, value and what is allowed.

    Args:
        fault: One of a `ValidationError`'s.
        root: What was validated.
    """
    path = fault["loc"]
    key = ".".join(map(str, path))
    match fault["type"]:
        case "extra_forbidden":
            allowed = list(_section_at(root, path[:-1]).model_fields)
            known = ", ".join(allowed)
            return f"{key}: unknown key{nearest(str(path[-1]), allowed)}; known: {known}"
        case "missing":
            return f"{key}: required, but not set"
        case "value_error":
            told = str(fault["msg"]).removeprefix("Value error, ")
            return f"{key}: {told}" if key else told
        case _:
            allowed_values = _allowed(fault, root)
            return f"{key}: {short(fault['input'])} is not allowed; allowed: {allowed_values}"


def short(value: object) -> str:
    """A value for a message."""
    text = without_passwords(repr(value))
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _allowed(fault: Mapping[str, Any], root: type[BaseModel]) -> str:
    kind, path = str(fault["type"]), fault["loc"]
    if kind in _KINDS:
        return _KINDS[kind]
    if kind.startswith(_NUMBERS):
        return _number(_section_at(root, path[:-1]).model_fields[str(path[-1])])
    if kind.startswith("datetime_"):
        return "a time such as 2026-11-01 or 2026-11-01T08:30:00+01:00"
    return str(fault["msg"]).removeprefix("Input should be ")


def _number(field: FieldInfo) -> str:
    types = get_args(field.annotation) or (field.annotation,)
    bounds = [
        words.format(f"{getattr(rule, name):,}")
        for name, words in _BOUNDS.items()
        for rule in field.metadata
        if hasattr(rule, name)
    ]
    kind = "a whole number" if int in types else "a number"
    return " ".join([kind, *bounds]) + (", or null" if type(None) in types else "")


def _section_at(root: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    section = root
    for part in path:
        # Only sections have unknown keys and numbers, and sections stand in nothing but sections.
        section = cast("type[BaseModel]", section.model_fields[str(part)].annotation)
    return section
