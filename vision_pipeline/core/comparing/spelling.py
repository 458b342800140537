"""Comparers as a command line spells them: `money`, `number:1%`, `text:0.8`."""

from __future__ import annotations

import math

from vision_pipeline.core.comparing.comparers import DIFFERENCES, SCORES, Comparer, Kind
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.suggestions import nearest

_CHOICES = [kind.value for kind in Kind if kind is not Kind.STRUCT]
_PERCENT = frozenset({Kind.NUMBER, Kind.MONEY})


def parse_comparer(text: str, *, where: str) -> Comparer:
    """A comparer out of `KIND` or `KIND:LIMIT`.

    Args:
        text: What somebody wrote.
        where: What to name in a message.

    Raises:
        ConfigError: No such kind, or a limit that it cannot have.
    """
    name, colon, written = text.partition(":")
    if name not in _CHOICES:
        allowed = f"allowed: {', '.join(_CHOICES)}{nearest(name, _CHOICES)}"
        raise ConfigError(f"{where}: {name!r} is no way to compare; {allowed}")
    kind = Kind(name)
    if not colon:
        return Comparer(kind)
    is_relative = written.endswith("%") and kind in _PERCENT
    limit = _number(written[:-1]) / 100 if is_relative else _number(written)
    if kind in DIFFERENCES and 0 <= limit < math.inf:
        return Comparer(kind, limit, is_relative)
    if kind in SCORES and 0 <= limit <= 1:
        return Comparer(kind, limit)
    raise ConfigError(f"{where}: {written!r} is no limit of {name}; allowed: {_allowed(kind)}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _allowed(kind: Kind) -> str:
    if kind in SCORES:
        return "0 to 1, the least score"
    if kind in _PERCENT:
        return "the greatest difference, such as 0.01 or 1%"
    return "seconds, from 0 on" if kind in DIFFERENCES else "none, without the colon"
