"""Strings that match a regular expression, by reading the expression as a recipe.

Knows literals, classes, groups, alternatives and repetitions: what a grammar engine without
lookaround can compile. Anchors and word borders make no text; the caller checks the result.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from random import Random

from vision_pipeline.emulator.grammar import GrammarError

_Recipe = Callable[[Random], str]

_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
_WORD = string.ascii_letters + string.digits + "_"
_CLASSES = {"d": string.digits, "w": _WORD, "s": " "}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_COUNTS = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_GROUP = re.compile(r"\((\?:|\?P?<\w+>)?")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})")
_REPEATS_BEYOND_MINIMUM = 4  # of a repetition without an upper bound


def matching(pattern: str, rng: Random) -> str:
    """A string that matches the pattern.

    Raises:
        GrammarError: The pattern uses something else than what is known here.
    """
    parser = _Parser(pattern)
    recipe = parser.alternatives()
    if parser.rest:
        raise GrammarError(f"pattern {pattern!r} has no meaning from {parser.rest!r} on")
    return recipe(rng)


class _Parser:
    """Reads one expression from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.rest = pattern

    def alternatives(self) -> _Recipe:
        branches = [self._sequence()]
        while self._skip("|"):
            branches.append(self._sequence())
        return lambda rng: rng.choice(branches)(rng)

    def _sequence(self) -> _Recipe:
        pieces: list[_Recipe] = []
        while self.rest and self.rest[0] not in "|)":
            pieces.append(self._repeated(self._atom()))
        return lambda rng: "".join(piece(rng) for piece in pieces)

    def _repeated(self, atom: _Recipe) -> _Recipe:
        bounds = self._bounds()
        if bounds is None:
            return atom
        self._skip("?")  # a lazy repetition matches the same strings
        least, most = bounds
        return lambda rng: "".join(atom(rng) for _ in range(rng.randint(least, most)))

    def _bounds(self) -> tuple[int, int] | None:
        for sign, least, most in (("?", 0, 1), ("*", 0, None), ("+", 1, None)):
            if self._skip(sign):
                return least, least + _REPEATS_BEYOND_MINIMUM if most is None else most
        counts = self._take(_COUNTS)
        if counts is None:
            return None
        least, upper = int(counts[1]), counts[3]
        if counts[2] is None:
            return least, least
        return least, max(least, int(upper)) if upper else least + _REPEATS_BEYOND_MINIMUM

    def _atom(self) -> _Recipe:
        if self.rest[0] == "(":
            return self._group()
        if self._skip("["):
            return _one_of(self._class())
        sign = self._next()
        if sign == "\\":
            return self._escaped()
        if sign in "^$":
            return _literal("")
        if sign in "*+?{":
            raise GrammarError(f"pattern {self._pattern!r} repeats nothing")
        return _one_of(_PRINTABLE) if sign == "." else _literal(sign)

    def _group(self) -> _Recipe:
        self._take(_GROUP)
        if self.rest.startswith("?"):
            raise GrammarError(f"pattern {self._pattern!r}: lookaround is not possible")
        inner = self.alternatives()
        if not self._skip(")"):
            raise GrammarError(f"pattern {self._pattern!r} has an open group")
        return inner

    def _escaped(self) -> _Recipe:
        if self._skip("b") or self._skip("B"):
            return _literal("")
        return _one_of(self._escape())

    def _escape(self) -> str:
        digits = self._take(_HEX)
        if digits is not None:
            return chr(int(digits[1] or digits[2], 16))
        sign = self._next()
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign.lower() in _CLASSES:
            return _without(_CLASSES[sign.lower()])
        if sign in _CONTROLS:
            return _CONTROLS[sign]
        if sign.isalnum():
            raise GrammarError(f"pattern {self._pattern!r}: \\{sign} is not known")
        return sign

    def _class(self) -> str:
        is_negated = self._skip("^")
        members = ""
        while not self._skip("]"):
            first = self._member()
            if self.rest.startswith("-") and not self.rest.startswith("-]"):
                self._next()
                members += _range(first, self._member())
            else:
                members += first
        return _without(members) if is_negated else members

    def _member(self) -> str:
        return self._escape() if self._skip("\\") else self._next()

    def _next(self) -> str:
        if not self.rest:
            raise GrammarError(f"pattern {self._pattern!r} ends too early")
        sign, self.rest = self.rest[0], self.rest[1:]
        return sign

    def _skip(self, sign: str) -> bool:
        found = self.rest.startswith(sign)
        self.rest = self.rest[len(sign) :] if found else self.rest
        return found

    def _take(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        found = expression.match(self.rest)
        self.rest = self.rest[found.end() :] if found else self.rest
        return found


def _literal(text: str) -> _Recipe:
    return lambda _: text


def _one_of(characters: str) -> _Recipe:
    if not characters:
        raise GrammarError("a character class in a pattern is empty")
    return lambda rng: rng.choice(characters)


def _without(characters: str) -> str:
    return "".join(sign for sign in _PRINTABLE if sign not in characters)


def _range(first: str, last: str) -> str:
    # A class on either side, as in `[\d-x]`, makes the hyphen a literal.
    if len(first) > 1 or len(last) > 1:
        return first + "-" + last
    return "".join(chr(code) for code in range(ord(first), ord(last) + 1))
