"""Which elements of a list are those of another, order aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from vision_pipeline.core.comparing.matches import Match, of_parts
from vision_pipeline.core.comparing.text import folded


def match_elements(
    true: list[Any], found: list[Any], nearness: Callable[[Any, Any], float | None]
) -> Match:
    """Each element of the truth takes the nearest of the answer's that are right and still free.

    Args:
        true: Elements of the truth.
        found: Elements of the answer.
        nearness: Of two elements; None for those that are not the same.
    """
    if true == found:
        return of_parts(len(true), len(true), len(found))
    equal = Counter(map(_key, true)) & Counter(map(_key, found))
    missing, free = _without(true, equal), _without(found, equal)
    hits = equal.total()
    for element in missing:
        near = [(nearness(element, each), place) for place, each in enumerate(free)]
        right = [(score, place) for score, place in near if score is not None]
        if right:
            free.pop(max(right)[1])
            hits += 1
    return of_parts(hits, len(true), len(found))


def _without(elements: list[Any], taken: Counter[Any]) -> list[Any]:
    left = Counter(taken)
    kept = []
    for element in elements:
        key = _key(element)
        if left[key]:
            left[key] -= 1
        else:
            kept.append(element)
    return kept


def distinct(elements: list[Any]) -> list[Any]:
    """Each of some elements once; text that differs in case or punctuation alone is the same."""
    return list({_key(element): element for element in elements}.values())


def _key(element: Any) -> Any:  # noqa: ANN401  (equal elements have equal keys, and hash)
    return folded(element) or element if isinstance(element, str) else repr(element)
