"""Column types of an answer: read off its JSON Schema, and values cast to them.

A small vocabulary of our own, so that the core stays free of Arrow; the Parquet adapter maps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


class Scalar(StrEnum):
    """Types without parts; `JSON` holds the text of a value whose type is not one of the others."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    CHOICE = "choice"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array whose elements have one type."""

    element: ColumnType


@dataclass(frozen=True, slots=True)
class StructOf:
    """An object; fields in the schema's order."""

    fields: tuple[tuple[str, ColumnType], ...]


ColumnType = Scalar | ListOf | StructOf

_BY_TYPE = {
    "string": Scalar.STRING,
    "integer": Scalar.INTEGER,
    "number": Scalar.NUMBER,
    "boolean": Scalar.BOOLEAN,
    "null": Scalar.JSON,
}
_BY_FORMAT = {"date": Scalar.DATE, "date-time": Scalar.TIMESTAMP}


def column_type(
    schema: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]
) -> ColumnType:
    """The type of a checked, reference-free-of-cycles schema node.

    Args:
        schema: The node.
        definitions: Nodes by the `$ref` that names them.
    """
    if "$ref" in schema:
        return column_type(definitions[schema["$ref"]], definitions)
    if alternatives := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return _union(alternatives, definitions)
    if "enum" in schema or "const" in schema:
        return _choice(schema.get("enum", [schema.get("const")]))
    return _typed(schema, definitions)


def _typed(schema: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]) -> ColumnType:
    match sorted(_types(schema)):
        case ["object"]:
            fields = schema.get("properties", {}).items()
            return StructOf(tuple((name, column_type(node, definitions)) for name, node in fields))
        case ["array"]:
            return _array(schema, definitions)
        case ["string"]:
            return _BY_FORMAT.get(schema.get("format", ""), Scalar.STRING)
        case ["integer", "number"]:
            return Scalar.NUMBER
        case [single]:
            return _BY_TYPE[single]
        case _:
            return Scalar.JSON


def _types(schema: Mapping[str, Any]) -> list[str]:
    declared = schema.get("type", [])
    types = [declared] if isinstance(declared, str) else list(declared)
    return [name for name in types if name != "null"] or types


def _union(alternatives: list[Any], definitions: Mapping[str, Mapping[str, Any]]) -> ColumnType:
    nodes = [node for node in alternatives if node.get("type") != "null"]
    types = {column_type(node, definitions) for node in nodes}
    return types.pop() if len(types) == 1 else Scalar.JSON


def _choice(values: list[Any]) -> ColumnType:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return Scalar.CHOICE
    if kinds == {bool}:
        return Scalar.BOOLEAN
    if kinds == {int}:
        return Scalar.INTEGER
    if kinds and kinds <= {int, float}:
        return Scalar.NUMBER
    return Scalar.JSON


def _array(schema: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]) -> ColumnType:
    # Without `items`, anything may follow the elements of a tuple: the empty node stands for that.
    rest = schema.get("items", {})
    nodes = schema.get("prefixItems", []) + ([rest] if rest is not False else [])
    elements = {column_type(node, definitions) for node in nodes}
    return ListOf(elements.pop()) if len(elements) == 1 else Scalar.JSON


def cast(value: Any, to: ColumnType) -> Any:  # noqa: ANN401  (JSON in, a column's value out)
    """A validated JSON value as its column holds it.

    Raises:
        ValueError: A value that JSON Schema lets pass and a column cannot hold: an integer beyond
            64 bits, a day that no calendar has, a leap second.
    """
    if value is None:
        return None
    match to:
        case ListOf():
            return [cast(element, to.element) for element in value]
        case StructOf():
            return {name: cast(value.get(name), kind) for name, kind in to.fields}
        case _:
            convert = _CASTS.get(to)
            return convert(value) if convert else value


def _int64(value: float) -> int:
    whole = int(value)
    if not INT64_MIN <= whole <= INT64_MAX:
        raise ValueError(f"{value} does not fit into 64 bits")
    return whole


def _moment(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError as error:  # within a day of the first or the last year
        raise ValueError(f"{value}: {error}") from None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


_CASTS: Mapping[Scalar, Callable[[Any], Any]] = {
    Scalar.INTEGER: _int64,
    Scalar.NUMBER: float,
    Scalar.DATE: date.fromisoformat,
    Scalar.TIMESTAMP: _moment,
    Scalar.JSON: _json,
}
