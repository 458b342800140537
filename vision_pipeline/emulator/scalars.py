"""Made-up numbers and strings within the bounds of a flat schema."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

from vision_pipeline.emulator.grammar import GrammarError
from vision_pipeline.emulator.merging import exact
from vision_pipeline.emulator.patterns import matching

_SPAN = 1000  # how far a number may lie from its only bound
_FINEST_STEPS = (Fraction(1, 100), Fraction(1, 10**6), Fraction(1, 10**12))
_PATTERN_TRIES = 50
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_DAYS = 3000
_WORDS = (
    *("amber", "bridge", "canvas", "delta", "ember", "fern", "garden", "harbour", "island"),
    *("jacket", "kettle", "lantern", "meadow", "needle", "orchard", "paper", "quartz", "river"),
    *("silver", "timber", "umbrella", "valley", "window", "yellow", "zinc"),
)


def number(schema: Mapping[str, Any], rng: Random, *, is_integer: bool) -> float:
    """A number within bounds and on the grid of `multipleOf`.

    Raises:
        GrammarError: There is none.
    """
    low, high = _bounds(schema)
    for step in _steps(schema, is_integer=is_integer):
        first = _grid(low, step, math.ceil) + (_touches(low, step, schema, "exclusiveMinimum"))
        last = _grid(high, step, math.floor) - (_touches(high, step, schema, "exclusiveMaximum"))
        if first <= last:
            value = rng.randint(first, last) * step
            return int(value) if is_integer else float(value)
    raise GrammarError(f"no number lies between {float(low)} and {float(high)}")


def text(schema: Mapping[str, Any], rng: Random) -> str:
    """A string of the asked format, pattern or length.

    Raises:
        GrammarError: The pattern cannot be followed.
    """
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    if "format" in schema:
        return _FORMATS[schema["format"]](rng)
    if "pattern" in schema:
        return _patterned(schema["pattern"], rng, least=least, most=most)
    return _words(rng, least=least, most=most)


def sentence(rng: Random) -> str:
    """A sentence that looks like an answer."""
    first, second, third = rng.sample(_WORDS, 3)
    return f"The image shows a {first} beside a {second}, with a {third} behind it."


def _bounds(schema: Mapping[str, Any]) -> tuple[Fraction, Fraction]:
    lows = [exact(schema[key]) for key in ("minimum", "exclusiveMinimum") if key in schema]
    highs = [exact(schema[key]) for key in ("maximum", "exclusiveMaximum") if key in schema]
    span = _SPAN * exact(schema.get("multipleOf", 1))
    low = max(lows) if lows else min([Fraction(0), *(high - span for high in highs)])
    high = min(highs) if highs else max(low, Fraction(0)) + span
    return low, high


def _steps(schema: Mapping[str, Any], *, is_integer: bool) -> tuple[Fraction, ...]:
    if is_integer:
        # A whole multiple of p/q is a multiple of p.
        return (Fraction(exact(schema.get("multipleOf", 1)).numerator),)
    return (exact(schema["multipleOf"]),) if "multipleOf" in schema else _FINEST_STEPS


def _grid(bound: Fraction, step: Fraction, rounded: Callable[[Fraction], int]) -> int:
    return rounded(bound / step)


def _touches(bound: Fraction, step: Fraction, schema: Mapping[str, Any], key: str) -> bool:
    is_exclusive = key in schema and exact(schema[key]) == bound
    return is_exclusive and (bound / step).denominator == 1


def _patterned(pattern: str, rng: Random, *, least: int, most: float) -> str:
    for _ in range(_PATTERN_TRIES):
        made = matching(pattern, rng)
        if least <= len(made) <= most:
            return made
    raise GrammarError(f"no string of the asked length found for pattern {pattern!r}")


def _words(rng: Random, *, least: int, most: float) -> str:
    length = int(min(most, max(least, rng.randint(6, 30))))
    made = rng.choice(_WORDS)
    while len(made) < length:
        made += " " + rng.choice(_WORDS)
    cut = made[:length] if len(made) > most else made
    return cut.rstrip().ljust(min(least, length), "x")


def _moment(rng: Random) -> datetime:
    return _EPOCH + timedelta(days=rng.randrange(_DAYS), seconds=rng.randrange(86_400))


def _hex_groups(rng: Random, count: int) -> str:
    return ":".join(f"{rng.randrange(1, 0xFFFF):x}" for _ in range(count))


_FORMATS: Mapping[str, Callable[[Random], str]] = {
    "date": lambda rng: _moment(rng).date().isoformat(),
    "time": lambda rng: _moment(rng).time().isoformat() + "Z",
    "date-time": lambda rng: _moment(rng).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "duration": lambda rng: f"P{rng.randrange(1, 30)}DT{rng.randrange(1, 24)}H",
    "email": lambda rng: f"{rng.choice(_WORDS)}.{rng.choice(_WORDS)}@example.com",
    "hostname": lambda rng: f"{rng.choice(_WORDS)}.example.com",
    "ipv4": lambda rng: f"192.0.2.{rng.randrange(1, 255)}",  # reserved for documentation
    "ipv6": lambda rng: f"2001:db8:{_hex_groups(rng, 6)}",  # reserved for documentation
    "uri": lambda rng: f"https://example.com/{rng.choice(_WORDS)}/{rng.choice(_WORDS)}",
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
}
