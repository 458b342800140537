"""Foreign text on a page: escaped, set apart from the text around it, nothing hidden in it."""

from __future__ import annotations

import re
from html import escape

# Marks that turn text around, and control characters other than tab and line ends.
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def shown(text: object) -> str:
    """Any text as HTML that shows it: as its own run of characters, with hidden ones named."""
    visible = _HIDDEN.sub(lambda mark: f"\u27e8U+{ord(mark[0]):04X}\u27e9", str(text))
    return f"<bdi>{escape(visible)}</bdi>"
