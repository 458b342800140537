"""Made-up answers that fit a JSON schema."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from vision_pipeline.emulator import scalars
from vision_pipeline.emulator.grammar import Grammar, GrammarError, Schema
from vision_pipeline.emulator.merging import merged

_TRIES = 64  # whole answers; only contradictory or overlapping branches need more than one
_SMALL_FROM = 4  # nesting from which on answers are kept as small as the schema allows
_DEEPEST = 60
_MOST_EXTRA_ITEMS = 3
_OPTIONAL_SHARE = 0.8  # of the optional properties that are given
_COMBINATORS = ("$ref", "allOf", "anyOf", "oneOf", "const")
_SIZES = {"null": 0, "boolean": 1, "integer": 1, "number": 1, "string": 1, "array": 2}
_LARGE = 3
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "null": type(None),
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "array": list,
    "object": dict,
}
_TYPE_HINTS = (
    ("object", {"properties", "required", "additionalProperties", "patternProperties"}),
    ("array", {"items", "prefixItems", "minItems", "maxItems"}),
    ("number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
)


def sample(grammar: Grammar, rng: Random) -> object:
    """An answer that the grammar accepts.

    Raises:
        GrammarError: None was found.
    """
    sampler = _Sampler(grammar, rng)
    cause: GrammarError | None = None
    for _ in range(_TRIES):
        try:
            answer = sampler.value(grammar.schema, 0)
        except GrammarError as error:
            cause = error
            continue
        if grammar.accepts(answer):
            return answer
    raise GrammarError(f"no answer was found that fits the schema: {cause}") from cause


class _Sampler:
    """Walks a schema; what it makes fits, but for what `merged` and `oneOf` leave open."""

    def __init__(self, grammar: Grammar, rng: Random) -> None:
        self._grammar = grammar
        self._rng = rng

    def value(self, schema: Schema, depth: int) -> object:
        if depth > _DEEPEST:
            raise GrammarError("the schema asks for an answer without end")
        flat = self._flat(schema, depth, hops=0)
        if "enum" in flat:
            return self._rng.choice(_of_type(flat))
        name = self._type(flat, depth)
        match name:
            case "object":
                return self._object(flat, depth)
            case "array":
                return self._array(flat, depth)
            case _:
                return self._scalar(flat, name)

    def _scalar(self, flat: Mapping[str, Any], name: str) -> object:
        match name:
            case "string":
                return scalars.text(flat, self._rng)
            case "boolean":
                return self._rng.choice((True, False))
            case "integer" | "number":
                return scalars.number(flat, self._rng, is_integer=name == "integer")
            case _:
                return None

    def _flat(self, schema: Schema, depth: int, *, hops: int) -> dict[str, Any]:
        """One schema without references and combinators, a branch of each being chosen."""
        if hops > _DEEPEST:
            raise GrammarError("a reference leads back to itself")
        if isinstance(schema, bool):
            if not schema:
                raise GrammarError("the schema `false` allows no answer")
            return {}
        flat = {key: value for key, value in schema.items() if key not in _COMBINATORS}
        if "const" in schema:
            flat = merged(flat, {"enum": [schema["const"]]})
        for part in self._joint_parts(schema):
            flat = merged(flat, self._flat(part, depth, hops=hops + 1))
        for key in ("anyOf", "oneOf"):
            if key in schema:
                flat = self._with_branch(flat, schema[key], depth, hops=hops)
        return flat

    def _joint_parts(self, schema: Mapping[str, Any]) -> Iterator[Schema]:
        if "$ref" in schema:
            yield self._grammar.resolve(schema["$ref"])
        yield from schema.get("allOf", ())

    def _with_branch(
        self, flat: dict[str, Any], branches: list[Schema], depth: int, *, hops: int
    ) -> dict[str, Any]:
        order = self._rng.sample(branches, len(branches))
        for branch in sorted(order, key=_size) if depth >= _SMALL_FROM else order:
            try:
                return merged(flat, self._flat(branch, depth, hops=hops + 1))
            except GrammarError:
                continue
        raise GrammarError("no branch of a combined schema can be satisfied")

    def _type(self, flat: Mapping[str, Any], depth: int) -> str:
        named: str | list[str] | None = flat.get("type")
        if isinstance(named, str):
            return named
        if named is None:
            return next((name for name, keys in _TYPE_HINTS if keys & flat.keys()), "string")
        if depth >= _SMALL_FROM:
            return min(named, key=lambda name: _SIZES.get(name, _LARGE))
        return self._rng.choice(named)

    def _array(self, flat: Mapping[str, Any], depth: int) -> list[object]:
        items = flat.get("items", True)
        heads: list[Schema] = flat.get("prefixItems", items if isinstance(items, list) else [])
        tail: Schema = flat.get("additionalItems", True) if isinstance(items, list) else items
        least = flat.get("minItems", 0)
        extra = 0 if depth >= _SMALL_FROM else _MOST_EXTRA_ITEMS
        most = min(flat.get("maxItems", math.inf), max(least, len(heads), 1) + extra)
        if tail is False:
            most = min(most, len(heads))
        length = least if depth >= _SMALL_FROM else self._rng.randint(min(least or 1, most), most)
        schemas = [*heads, *(tail for _ in range(length - len(heads)))][:length]
        return [self.value(schema, depth + 1) for schema in schemas]

    def _object(self, flat: Mapping[str, Any], depth: int) -> dict[str, object]:
        required = flat.get("required", [])
        named = [*flat.get("properties", {})]
        made: dict[str, object] = {}
        for name in [*named, *(name for name in required if name not in named)]:
            if name in required:
                made[name] = self.value(_member(flat, name), depth + 1)
            elif self._has_room(flat, made, depth):
                self._add_optional(made, flat, name, depth)
        self._fill(made, flat, depth)
        return made

    def _has_room(self, flat: Mapping[str, Any], made: dict[str, object], depth: int) -> bool:
        missing = sum(name not in made for name in flat.get("required", []))
        has_room = len(made) + missing < flat.get("maxProperties", math.inf)
        return has_room and depth < _SMALL_FROM and self._rng.random() < _OPTIONAL_SHARE

    def _add_optional(
        self, made: dict[str, object], flat: Mapping[str, Any], name: str, depth: int
    ) -> None:
        try:
            made[name] = self.value(_member(flat, name), depth + 1)
        except GrammarError:
            return  # an optional property that nothing satisfies is left out

    def _fill(self, made: dict[str, object], flat: Mapping[str, Any], depth: int) -> None:
        """Give more properties until there are `minProperties`."""
        spare = [name for name in flat.get("properties", {}) if name not in made]
        missing = flat.get("minProperties", 0) - len(made)
        for number in range(missing):
            name = spare[number] if number < len(spare) else f"extra_{number}"
            made[name] = self.value(_member(flat, name), depth + 1)


def _member(flat: Mapping[str, Any], name: str) -> Schema:
    """What the value of one property has to fit."""
    parts = [flat["properties"][name]] if name in flat.get("properties", {}) else []
    for pattern, schema in flat.get("patternProperties", {}).items():
        if re.search(pattern, name):
            parts.append(schema)
    if not parts:
        others: Schema = flat.get("additionalProperties", True)
        return others
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def _of_type(flat: Mapping[str, Any]) -> list[object]:
    values: list[object] = flat["enum"]
    kinds = flat.get("type", list(_KINDS))
    names = kinds if isinstance(kinds, list) else [kinds]
    fitting = [value for value in values if any(_is_a(value, name) for name in names)]
    if not fitting:
        raise GrammarError("no value of an enumeration has the asked type")
    return fitting


def _is_a(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _KINDS[kind])


def _size(schema: Schema) -> int:
    """How large the answers of a branch are, roughly; references are taken for large."""
    if isinstance(schema, bool):
        return 0
    if "const" in schema or "enum" in schema:
        return 1
    named = schema.get("type")
    names: list[str] = named if isinstance(named, list) else [named or "object"]
    return min(_SIZES.get(name, _LARGE) for name in names)
