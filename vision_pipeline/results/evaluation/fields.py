"""The fields of an answer, down to those without parts, and how each is compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pyarrow as pa

from vision_pipeline.core.comparing.comparers import Comparer, Kind
from vision_pipeline.results.evaluation.truth import UNKNOWN

_SIMPLE = (
    (pa.types.is_dictionary, Kind.ENUM),
    (pa.types.is_boolean, Kind.BOOLEAN),
    (pa.types.is_integer, Kind.NUMBER),
    (pa.types.is_floating, Kind.NUMBER),
    (pa.types.is_decimal, Kind.NUMBER),
    (pa.types.is_date, Kind.DATE),
    (pa.types.is_timestamp, Kind.DATETIME),
)
_STRUCTURED = frozenset({Kind.LIST, Kind.SET, Kind.STRUCT})


@dataclass(frozen=True, slots=True)
class Field:
    """A column of an answer, or a part of one.

    Attributes:
        path: The column, and the keys from there on.
        type: Of the values; of a part of a list's elements, the type of a list of those parts.
        element_key: The key in each element of a list, for a part of those.
    """

    path: tuple[str, ...]
    type: pa.DataType
    element_key: str = ""

    @property
    def name(self) -> str:
        """Such as `total`, `address.city` or `items[].price`."""
        return ".".join(self.path) + (f"[].{self.element_key}" if self.element_key else "")

    def within(self, value: Any) -> Any:  # noqa: ANN401
        """The part of a column's value that this field is."""
        for key in self.path[1:]:
            value = value.get(key) if isinstance(value, Mapping) else None
        return self.parts(value)

    def parts(self, value: Any) -> Any:  # noqa: ANN401
        """Of each element of a list, its part; any other value as it is.

        Where elements tell other parts and not this one, it is unknown.
        """
        if not self.element_key or not isinstance(value, list):
            return value
        objects = [element for element in value if isinstance(element, Mapping)]
        if objects and not any(self.element_key in element for element in objects):
            return UNKNOWN
        return [
            element.get(self.element_key) if isinstance(element, Mapping) else element
            for element in value
        ]

    def true_value(self, value: Any, comparer: Comparer) -> Any:  # noqa: ANN401
        """What a cell of a truth says of this field.

        A list or object in a file of text is JSON, or has its elements apart by `;`, `|` or lines.
        """
        if value is UNKNOWN or comparer.kind not in _STRUCTURED or not isinstance(value, str):
            return self.parts(value)
        text = value.strip()
        if text[:1] in {"[", "{"}:
            try:
                return self.parts(orjson.loads(text))
            except orjson.JSONDecodeError:
                return value
        mark = next((mark for mark in "\n;|" if mark in text), "\n")
        return [each.strip() for each in text.split(mark) if each.strip()]


def fields_of(columns: Mapping[str, pa.DataType]) -> list[Field]:
    """All fields of some columns, in their order; objects by their parts alone."""
    return [each for name, kind in columns.items() for each in _fields((name,), kind)]


def comparer_for(kind: pa.DataType) -> Comparer:
    """How values of a type are compared where nobody says otherwise."""
    for is_of, chosen in _SIMPLE:
        if is_of(kind):
            return Comparer(chosen)
    if _is_list(kind):
        return Comparer(Kind.LIST, element=comparer_for(kind.value_type))
    if pa.types.is_struct(kind):
        return Comparer(Kind.STRUCT, leaves={each.name: comparer_for(each.type) for each in kind})
    return Comparer(Kind.TEXT)


def fitted(chosen: Comparer, kind: pa.DataType) -> Comparer:
    """A comparer that somebody named, for a type: a list's elements are compared by theirs."""
    if chosen.kind in {Kind.LIST, Kind.SET} and _is_list(kind):
        return replace(chosen, element=comparer_for(kind.value_type))
    return chosen


def is_transcript(truths: Iterable[Any]) -> bool:
    """Whether the true values of a text are of several lines, so that words are compared."""
    return any(
        "\n" in value.strip() if isinstance(value, str) else isinstance(value, list)
        for value in truths
    )


def _fields(path: tuple[str, ...], kind: pa.DataType) -> Iterator[Field]:
    if pa.types.is_struct(kind):
        for part in kind:
            yield from _fields((*path, part.name), part.type)
        return
    yield Field(path, kind)
    if _is_list(kind) and pa.types.is_struct(kind.value_type):
        for part in kind.value_type:
            yield Field(path, pa.list_(part.type), part.name)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
