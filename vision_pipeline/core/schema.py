"""The promised answer: a JSON Schema made strict, and answers held against it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import orjson

from vision_pipeline.core.columns import ColumnType, StructOf, cast, column_type
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.suggestions import nearest

# What the provider's grammar engine holds: llguidance, docs/json_schema.md (2026-08).
_HELD = {
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "const",
    "enum",
    "type",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "properties",
    "additionalProperties",
    "required",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "format",
    "$defs",
    "definitions",
}
_ANNOTATIONS = {"title", "description", "default", "examples", "deprecated", "$comment"}
_FORMATS = {
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
}
_OTHER_KEYS = jsonschema_rs.ValidationErrorKind.AdditionalProperties
_LOOKAROUND = re.compile(r"(?<!\\)\(\?<?[=!]")
_CHILDREN = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_COMBINING = {"$ref", "anyOf", "oneOf", "allOf"}
_NO_OPEN_OBJECTS = "strict mode has no open objects; use an array of {key, value} objects"
_MAX_COMPLAINTS = 8
_MAX_NODES = 5_000
_MAX_PLACES = 60  # Parquet readers give up on schemas that are nested about twice as deep
MAX_PLACE = 200  # characters of a place in a message
_MAX_COMPLAINT = 200  # characters

# A closing fence ends its line: one inside a JSON string does not.
_FENCED = re.compile(r"```(?:json|JSON)?[ \t]*\r?\n(.*?)```[ \t]*\r?$", re.DOTALL | re.MULTILINE)


class UnusableAnswerError(Exception):
    """A reply that is no valid answer; its text is the complaint for the repair turn."""


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """A strict schema: every key required, no other keys, optional ones nullable.

    Attributes:
        document: What goes to the provider.
        columns: Names and types of the answer's columns, in the schema's order.
    """

    document: Mapping[str, Any]
    columns: tuple[tuple[str, ColumnType], ...]
    _validator: jsonschema_rs.Draft202012Validator

    def parse(self, text: str, *, drops_others: bool = False) -> dict[str, Any]:
        """The answer in `text` as column values; one Markdown fence around it is let pass.

        Args:
            text: A reply.
            drops_others: Leave out keys that the schema does not name, instead of refusing them.

        Raises:
            UnusableAnswerError: No JSON, or JSON that does not fit; says what and where.
        """
        fenced = _FENCED.findall(text)
        try:
            value = orjson.loads(fenced[0] if len(fenced) == 1 else text.strip())
        except orjson.JSONDecodeError as error:
            raise UnusableAnswerError(f"not valid JSON: {error}") from None
        faults = [
            f"{_pointer(fault.instance_path)}: {_cut(fault.message)}"
            for fault in self._validator.iter_errors(value)
            if not (drops_others and isinstance(fault.kind, _OTHER_KEYS))
        ]
        if faults:
            more = len(faults) - _MAX_COMPLAINTS
            tail = [f"and {more} more"] if more > 0 else []
            raise UnusableAnswerError("; ".join(faults[:_MAX_COMPLAINTS] + tail))
        try:
            return {name: cast(value.get(name), kind) for name, kind in self.columns}
        except ValueError as error:
            raise UnusableAnswerError(_cut(str(error))) from None


def parse_schema(schema: Mapping[str, Any], *, where: str) -> AnswerSchema:
    """Check a schema, make it strict, and read off its columns.

    Args:
        schema: JSON Schema of an object.
        where: File and key, for messages.

    Raises:
        ConfigError: Not a valid schema, or one that strict mode or a table cannot hold; with place.
    """
    plain = _plain(schema, where)
    _check(plain, where)
    document = _closed(plain)
    definitions = dict(_definitions(document))
    # Before there is a validator: it would fetch a remote reference over the network.
    _Expansion(definitions).check(document, where)
    try:
        validator = jsonschema_rs.Draft202012Validator(document, validate_formats=True)
    except jsonschema_rs.ValidationError as error:
        raise _invalid(error, where) from None
    root = column_type(document, definitions)
    if not isinstance(root, StructOf) or validator.is_valid(None):
        raise ConfigError(f"{where}: an answer is an object, and not null")
    return AnswerSchema(document=document, columns=root.fields, _validator=validator)


def _plain(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    # YAML has more than JSON: dates, which become text again, and keys such as `yes`, a boolean.
    try:
        plain: dict[str, Any] = orjson.loads(orjson.dumps(schema))
    except orjson.JSONEncodeError as error:
        raise ConfigError(f"{where}: cannot be written as JSON: {error}") from None
    try:
        # Without `$schema`, which could name a server; the check after this one refuses it.
        jsonschema_rs.meta.validate({key: plain[key] for key in plain if key != "$schema"})
    except jsonschema_rs.ValidationError as error:
        raise _invalid(error, where) from None
    return plain


def _invalid(error: jsonschema_rs.ValidationError, where: str) -> ConfigError:
    place = ".".join([where, *map(str, error.instance_path)])
    return ConfigError(f"{place}: not a valid JSON Schema: {error.message}")


def _check(node: object, where: str) -> None:
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where}: expected a schema, found {node!r}")
    _check_keywords(node, where)
    if "properties" in node or _is_object(node):
        _check_object(node, where)
    for place, child in _children(node):
        _check(child, f"{where}.{place}")


def _check_keywords(node: Mapping[str, Any], where: str) -> None:
    for keyword in node:
        if keyword not in _HELD and keyword not in _ANNOTATIONS:
            held = ", ".join(sorted(_HELD))
            raise ConfigError(f"{where}: strict mode cannot hold `{keyword}`; it holds: {held}")
    if node.get("format", "date") not in _FORMATS:
        known = ", ".join(sorted(_FORMATS))
        raise ConfigError(f"{where}.format: {node['format']!r} is not one of: {known}")
    if _LOOKAROUND.search(node.get("pattern", "")):
        raise ConfigError(f"{where}.pattern: strict mode cannot look around: {node['pattern']!r}")
    if node.get("additionalProperties", False) is not False:
        raise ConfigError(f"{where}.additionalProperties: {_NO_OPEN_OBJECTS}")
    if len(node.get("allOf", [])) > 1:
        raise ConfigError(f"{where}.allOf: merge the members into one schema")


def _check_object(node: Mapping[str, Any], where: str) -> None:
    properties = node.get("properties", {})
    # Closed objects do not add up: each would forbid the other's keys.
    for keyword in sorted(_COMBINING & node.keys()):
        raise ConfigError(f"{where}.{keyword}: merge it with the object beside it into one schema")
    if not properties:
        raise ConfigError(f"{where}: an object without properties; {_NO_OPEN_OBJECTS}")
    for name in node.get("required", []):
        if name not in properties:
            hint = nearest(name, properties)
            raise ConfigError(f"{where}.required: `{name}` is not among the properties{hint}")


def _children(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for keyword in _CHILDREN:
        children = node.get(keyword)
        if isinstance(children, Mapping):
            yield from ((f"{keyword}.{name}", child) for name, child in children.items())
    for keyword in _LISTS:
        children = node.get(keyword)
        if isinstance(children, list):
            yield from ((f"{keyword}[{index}]", child) for index, child in enumerate(children))
    # `items: false` closes a tuple
    if "items" in node and node["items"] is not False:
        yield "items", node["items"]


def _closed(node: Mapping[str, Any]) -> dict[str, Any]:
    closed = dict(node)
    for keyword in _CHILDREN:
        if isinstance(node.get(keyword), Mapping):
            closed[keyword] = {name: _closed(child) for name, child in node[keyword].items()}
    for keyword in _LISTS:
        if isinstance(node.get(keyword), list):
            closed[keyword] = [_closed(child) for child in node[keyword]]
    if isinstance(node.get("items"), Mapping):
        closed["items"] = _closed(node["items"])
    if "properties" in node or _is_object(node):
        required = node.get("required", [])
        closed["properties"] = {
            name: child if name in required else _nullable(child)
            for name, child in closed["properties"].items()
        }
        closed["required"] = [*closed["properties"]]
        closed["additionalProperties"] = False
    return closed


def _is_object(node: Mapping[str, Any]) -> bool:
    types = node.get("type", [])
    return "object" in ([types] if isinstance(types, str) else types)


def _nullable(node: dict[str, Any]) -> dict[str, Any]:
    if "type" not in node or node.keys() & (_COMBINING | {"const"}):
        return node if _allows_null(node) else {"anyOf": [node, {"type": "null"}]}
    types = node["type"]
    names = [types] if isinstance(types, str) else types
    nullable = node | {"type": names if "null" in names else [*names, "null"]}
    if "enum" in node and None not in node["enum"]:
        nullable["enum"] = [*node["enum"], None]
    return nullable


def _allows_null(node: Mapping[str, Any]) -> bool:
    return any(member.get("type") == "null" for member in node.get("anyOf", []))


def _definitions(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for keyword in ("$defs", "definitions"):
        for name, node in document.get(keyword, {}).items():
            yield f"#/{keyword}/{name}", node


class _Expansion:
    """Follows every reference as columns will: each must be known, finite and of a sane size."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        self._definitions = definitions
        self._nodes = 0

    def check(self, node: Mapping[str, Any], where: str, above: tuple[str, ...] = ()) -> None:
        self._nodes += 1
        if self._nodes > _MAX_NODES or where.count(".") > _MAX_PLACES:
            raise ConfigError(
                f"{where[:MAX_PLACE]}: too large for a table: at most {_MAX_NODES} parts, "
                f"nested at most {_MAX_PLACES} deep, references followed"
            )
        if "$ref" in node:
            self._follow(str(node["$ref"]), where, above)
        for place, child in _children(node):
            self.check(child, f"{where}.{place}", above)

    def _follow(self, reference: str, where: str, above: tuple[str, ...]) -> None:
        if reference not in self._definitions:
            known = ", ".join(self._definitions) or "none"
            raise ConfigError(f"{where}.$ref: {reference!r} is not defined here; known: {known}")
        if reference in above:
            raise ConfigError(f"{where}.$ref: {reference} contains itself; a column cannot")
        self.check(self._definitions[reference], f"{where}.$ref", (*above, reference))


def _pointer(path: list[str | int]) -> str:
    return "/" + "/".join(map(str, path)) if path else "answer"


def _cut(message: str) -> str:
    return message if len(message) <= _MAX_COMPLAINT else message[:_MAX_COMPLAINT] + "..."
