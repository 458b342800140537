"""What a text may mean, where that depends on the convention of whoever wrote it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


def convention_of(texts: Iterable[Mapping[str, Value]], among: Collection[str]) -> str:
    """The one convention that all texts can follow, where at least one of them shows it, or "".

    Args:
        texts: The meanings of each by convention; those without any count for nothing.
        among: The conventions to tell apart; a text that follows none of them tells nothing.
    """
    left = set(among)
    for meanings in texts:
        left &= (meanings.keys() & set(among)) or set(among)
    return left.pop() if len(left) == 1 else ""


def agree(
    first: Mapping[str, Value],
    second: Mapping[str, Value],
    equal: Callable[[Value, Value], bool] = operator.eq,
) -> bool:
    """Whether two texts mean the same.

    What has one meaning whatever the convention, such as 25/12/2018, may be any meaning of the
    other. Where both have several, such as 3/4/2018 and 4/3/2018, one convention has to hold for
    both.

    Args:
        first: Meanings by convention; empty for a text that means nothing.
        second: Likewise.
        equal: Of two values; by default `==`.
    """
    if len(set(first.values())) == 1 or len(set(second.values())) == 1:
        return any(equal(one, other) for one in first.values() for other in second.values())
    return any(equal(first[name], second[name]) for name in first.keys() & second.keys())
