"""How deep JSON is nested, told without parsing it: parsers may call themselves to death."""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_MARKS = b'[]{}"\n\\'
_OTHERS = bytes(set(range(256)) - set(_MARKS))
_OPENING = frozenset(b"[{")
_QUOTE, _LINE_END = b'"\n'


class NestingMeter:
    """Follows JSON Lines piece by piece.

    Attributes:
        line: The number of the line that it has come to, from 1.
        depth: How many lists and objects are open there.

    Args:
        most: The depth that is allowed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._is_in_text = False
        self._held = b""
        self.line = 1
        self.depth = 0

    def take(self, piece: bytes) -> bool:
        """Whether all is allowed up to the end of the next piece; it may begin anywhere."""
        marks = _ESCAPE.sub(b"", self._held + piece).translate(None, _OTHERS)
        # A backslash that stands last escapes what the next piece begins with.
        self._held = b"\\" if marks.endswith(b"\\") else b""
        return all(map(self._pass, marks.removesuffix(b"\\")))

    def _pass(self, mark: int) -> bool:
        if mark == _LINE_END:  # which no text goes beyond
            self._is_in_text = False
            self.line += 1
        elif mark == _QUOTE:
            self._is_in_text = not self._is_in_text
        elif self._is_in_text:
            return True
        elif mark in _OPENING:
            self.depth += 1
        else:
            self.depth = max(0, self.depth - 1)
        return self.depth <= self._most
