"""From single matches to what they say about a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vision_pipeline.core.comparing.comparers import Kind, is_blank
from vision_pipeline.core.proportions import wilson
from vision_pipeline.results.evaluation.scores import Example, FieldScore, Judged, confusion

_CLASSES = frozenset({Kind.ENUM, Kind.BOOLEAN})


@dataclass(frozen=True, slots=True)
class Matched:
    """Rows that have a truth: the table, which are errors, and what they cost if all tell it."""

    table: pa.Table
    errors: Sequence[bool]
    costs: Sequence[float] | None


def score(name: str, column: str, judged: Judged, matched: Matched, *, worst: int) -> FieldScore:
    """What the matches of one field come to.

    Args:
        name: The field.
        column: Where its truth stands.
        judged: Row by row.
        matched: All rows that have a truth.
        worst: How many wrong answers to keep as examples.
    """
    errors, costs = matched.errors, matched.costs
    rows, right = len(judged.places), sum(judged.right)
    paid = None if costs is None else sum(costs[place] for place in judged.places)
    comparer = judged.comparer
    hits, wanted, given = (
        sum(getattr(match, part) for match in judged.matches)
        for part in ("hits", "wanted", "given")
    )
    return FieldScore(
        field=name,
        compared_as=str(comparer),
        truth_column=column,
        rows=rows,
        answered=sum(not is_blank(answer) for answer in judged.answers),
        right=right,
        errors=sum(errors[place] for place in judged.places),
        accuracy=wilson(right, rows),
        mean_score=sum(_earned(judged, errors)) / rows if rows else 0.0,
        recall=_share(hits, wanted) if comparer.has_parts else None,
        precision=_share(hits, given) if comparer.has_parts else None,
        f1=_share(2 * hits, wanted + given) if comparer.has_parts else None,
        found=hits,
        wanted=wanted,
        cost_per_right_usd=paid / right if paid is not None and right else None,
        unreadable=sum(not comparer.can_read(truth) for truth in _wrong_truths(judged)),
        convention=comparer.convention,
        confusion=confusion(judged, errors) if comparer.kind in _CLASSES else {},
        worst=_worst(judged, matched, worst),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _earned(judged: Judged, errors: Sequence[bool]) -> list[float]:
    scores = zip(judged.places, judged.matches, strict=True)
    return [0.0 if errors[place] else match.score for place, match in scores]


def _wrong_truths(judged: Judged) -> list[Any]:
    return [truth for truth, right in zip(judged.truths, judged.right, strict=True) if not right]


def _worst(judged: Judged, matched: Matched, most: int) -> Sequence[Example]:
    table, errors = matched.table, matched.errors
    scores = _earned(judged, errors)
    # Errors are told of elsewhere: a wrong answer teaches more.
    wrong = sorted(
        (errors[place], scores[number], number)
        for number, place in enumerate(judged.places)
        if not judged.right[number]
    )
    examples = []
    for is_error, score, number in wrong[:most]:
        row = judged.places[number]
        item_id, image_uri, code = (
            table[name][row].as_py() for name in ("item_id", "image_uri", "error_code")
        )
        answer = None if is_error else judged.answers[number]
        examples.append(Example(item_id, image_uri, judged.truths[number], answer, score, code))
    return examples


def right_rows(judged: Sequence[Judged]) -> int:
    """How many rows are right in every field that is judged in them."""
    wrong = {
        place
        for each in judged
        for place, right in zip(each.places, each.right, strict=True)
        if not right
    }
    seen = {place for each in judged for place in each.places}
    return len(seen - wrong)
