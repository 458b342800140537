"""How much of a true text was read: words found, order and case and punctuation aside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text: runs of letters and digits, case folded."""
    return _WORD.findall(text.casefold())


def found_words(true: Iterable[str], read: Iterable[str]) -> int:
    """How many of the true words were read; a word that is true twice must be read twice."""
    return (Counter(true) & Counter(read)).total()
