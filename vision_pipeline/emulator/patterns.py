"""Strings that match a regular expression."""

from __future__ import annotations

import re
from random import Random

from rstr import Rstr

from vision_pipeline.emulator.grammar import GrammarError

# JSON schema has JavaScript's spelling of a named group, which is not Python's.
_NAMED_GROUP = re.compile(r"(?<!\\)\(\?<(?![=!])")


def matching(pattern: str, rng: Random) -> str:
    """A string that probably matches the pattern; anchors and borders are for the caller to check.

    Raises:
        GrammarError: Not a regular expression that is known here.
    """
    try:
        return Rstr(rng).xeger(_NAMED_GROUP.sub("(?P<", pattern))
    except (re.error, KeyError, ValueError, OverflowError, RecursionError) as error:
        raise GrammarError(f"pattern {pattern!r} has no meaning: {error}") from error
