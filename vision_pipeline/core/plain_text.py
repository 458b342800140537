"""Text of others, shown on a terminal."""

from __future__ import annotations

import re

_BYTE = 0xFF
# Control characters, and those that turn the direction of what follows.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """In one line, with whatever would steer a terminal or turn its letters around as a code."""
    return _STEERING.sub(_code, text)


def _code(mark: re.Match[str]) -> str:
    number = ord(mark[0])
    return f"\\x{number:02x}" if number <= _BYTE else f"\\u{number:04x}"
