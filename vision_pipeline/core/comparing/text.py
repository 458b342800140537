"""How near one text is to another, and which of its words the other has."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import pairwise

from rapidfuzz.distance import Levenshtein

_WORD = re.compile(r"[^\W_]+")
_BETWEEN = re.compile(r"[\W_]+")


@lru_cache(maxsize=1024)
def folded(text: str) -> str:
    """A text without case, spaces and punctuation, but what parts two digits: 1.5 is not 15."""
    parts = _BETWEEN.split(unicodedata.normalize("NFKC", text).casefold().replace("&", " and "))
    joined = parts[:1]
    for before, part in pairwise(parts):
        apart = before[-1:].isdigit() and part[:1].isdigit()
        joined += (" ", part) if apart else (part,)
    return "".join(joined)


def similarity(first: str, second: str) -> float:
    """From 0, nothing in common, to 1, the same but for case, spaces and punctuation.

    It is 1 less the edit distance of the folded texts, as a part of the longer one's length.
    """
    one, other = folded(first), folded(second)
    if not (one or other):
        return float(first.split() == second.split())
    return Levenshtein.normalized_similarity(one, other)


def words(text: str) -> Counter[str]:
    """How often each word stands in a text: runs of letters and digits, case folded."""
    return Counter(_WORD.findall(text.casefold()))
