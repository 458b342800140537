"""Joining two flat schemas into one that asks for both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from vision_pipeline.emulator.grammar import GrammarError

_MOST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_LEAST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A schema whose answers fit both, as far as that can be said without trying.

    Two patterns or formats cannot be joined: the first stays, and the answer has to be checked.

    Raises:
        GrammarError: The two contradict each other.
    """
    joint = {**other, **one}
    for key in one.keys() & other.keys():
        join = _JOINS.get(key)
        if join is not None:
            joint[key] = join(one[key], other[key])
    return joint


def same(one: object, other: object) -> bool:
    """Whether two JSON values are equal; True is not 1 here."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def exact(number: float) -> Fraction:
    """The number as it was written, 0.1 being a tenth."""
    return Fraction(str(number))


def _types(one: str | list[str], other: str | list[str]) -> list[str]:
    left = [one] if isinstance(one, str) else one
    right = [other] if isinstance(other, str) else other
    common = [name for name in left if name in right]
    for narrow, wide in ((left, right), (right, left)):
        if "integer" in narrow and "number" in wide and "integer" not in common:
            common.append("integer")
    if not common:
        raise GrammarError(f"no answer is of type {one!r} and {other!r}")
    return common


def _enums(one: list[object], other: list[object]) -> list[object]:
    common = [value for value in one if any(same(value, another) for another in other)]
    if not common:
        raise GrammarError("two enumerations have no value in common")
    return common


def _both(one: object, other: object) -> object:
    return {"allOf": [one, other]}


def _members(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _both(one[name], other[name]) for name in one if name in other}
    return {**one, **other, **both}


def _steps(one: float, other: float) -> float:
    left, right = exact(one), exact(other)
    numerator = math.lcm(left.numerator, right.numerator)
    return float(Fraction(numerator, math.gcd(left.denominator, right.denominator)))


def _names(one: list[str], other: list[str]) -> list[str]:
    return [*one, *(name for name in other if name not in one)]


_JOINS: Mapping[str, Callable[[Any, Any], Any]] = {
    "type": _types,
    "enum": _enums,
    "required": _names,
    "properties": _members,
    "patternProperties": _members,
    "items": _both,
    "additionalProperties": _both,
    "multipleOf": _steps,
    **dict.fromkeys(_MOST, max),
    **dict.fromkeys(_LEAST, min),
}
