"""Answers against the truth, field by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.comparing.comparers import Comparer, Kind, is_blank
from vision_pipeline.core.comparing.matches import Match
from vision_pipeline.core.comparing.spelling import parse_comparer
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.proportions import wilson
from vision_pipeline.core.suggestions import nearest
from vision_pipeline.results.evaluation.fields import (
    Field,
    comparer_for,
    fields_of,
    fitted,
    is_transcript,
)
from vision_pipeline.results.evaluation.matching import match_rows
from vision_pipeline.results.evaluation.rows import Rows, costs_of, read_chosen
from vision_pipeline.results.evaluation.scores import (
    Evaluation,
    Judged,
)
from vision_pipeline.results.evaluation.scoring import Matched, right_rows, score
from vision_pipeline.results.evaluation.truth import CHECKED, UNKNOWN, Truth, read_truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How answers are judged.

    Attributes:
        compare: Ways to compare by field, as `--compare` takes them, such as `money` or `text:0.8`.
        renamed: Columns of the truth by the field that they are about.
        key: The truth's column that names the item; None looks for it.
        skip_blank: Whether a blank truth says nothing, instead of that the answer is nothing.
        worst: How many examples of each field to show.
    """

    compare: Mapping[str, str]
    renamed: Mapping[str, str]
    key: str | None = None
    skip_blank: bool = False
    worst: int = 3


def evaluate(  # noqa: PLR0913  (options of a notebook's function, by name)
    output: str,
    truth: str,
    *,
    run: str | None = None,
    compare: Mapping[str, str] | None = None,
    renamed: Mapping[str, str] | None = None,
    key: str | None = None,
    skip_blank: bool = False,
    unchecked: bool = False,
    worst: int = 3,
) -> Evaluation:
    """Judge an output against a file of true answers.

    Args:
        output: The output folder of a run, local or a URL.
        truth: CSV, TSV, JSON Lines, JSON or Parquet, a row an image.
        run: A run's id, its beginning or end, `latest` or `previous`; None takes the latest row
            of each item.
        compare: How to compare, by field, such as `{"total": "money", "vendor": "text:0.8"}`;
            other fields are compared by their types.
        renamed: Columns of the truth by the field that they are about, where names differ.
        key: The truth's column of item ids, image URIs or file names; None looks for it.
        skip_blank: Whether a blank truth says nothing; else it says that the answer is nothing.
        unchecked: Whether rows count that a column `checked` does not mark.
        worst: How many wrong answers of each field to keep as examples, from 0 on.

    Raises:
        ConfigError: The truth cannot be read or matched, or an option names what is not there.
        OutputError: It is no output folder, or cannot be read.
    """
    how = Judgement(
        compare=compare or {},
        renamed=renamed or {},
        key=key,
        skip_blank=skip_blank,
        worst=worst,
    )
    return judge(read_chosen(output, run), read_truth(truth, unchecked=unchecked), how)


def judge(rows: Rows, truth: Truth, how: Judgement) -> Evaluation:
    """Judge rows that are read already.

    Raises:
        ConfigError: As for `evaluate`.
    """
    ids, uris = (rows.table[name].to_pylist() for name in ("item_id", "image_uri"))
    matching = match_rows(truth, ids, uris, key=how.key)
    found = rows.table.take(pa.array([place for _, place in matching.pairs], pa.int64()))
    matched = Matched(
        found,
        pc.not_equal(found["status"], "ok").to_pylist(),
        costs_of(found),
    )
    true_places = [place for place, _ in matching.pairs]
    judged, scores = {}, []
    for field, column in _judged_fields(rows, truth, how):
        values = truth.columns[column]
        each = _judge_field(field, [values[place] for place in true_places], matched, how)
        if each.places:
            judged[field.name] = each
            scores.append(score(field.name, column, each, matched, worst=how.worst))
    if not scores:
        raise ConfigError(f"{truth.file}: its matched rows say nothing about any field")
    count, errors = found.num_rows, sum(matched.errors)
    right = right_rows(list(judged.values()))
    return Evaluation(
        output=rows.output,
        label=rows.label,
        truth=truth.file,
        matching=matching,
        unchecked=truth.unchecked,
        unused=_unused(truth, matching.column, [each.truth_column for each in scores]),
        rows=count,
        errors=errors,
        coverage=wilson(count - errors, count),
        right=right,
        accuracy=wilson(right, count),
        cost_usd=None if matched.costs is None else sum(matched.costs),
        from_ledger=sum(found["from_ledger"].to_pylist()),
        fields=scores,
        judged=judged,
        item_ids=found["item_id"].to_pylist(),
    )


def _unused(truth: Truth, key: str, used: Sequence[str]) -> list[str]:
    """Columns of a truth that are about nothing; parts of one that is used are used with it."""
    heads = [name.partition(".")[0] for name in (key, *used)]
    return [
        name
        for name in truth.columns
        if name not in used and name.partition(".")[0] not in heads and name != CHECKED
    ]


def _judged_fields(rows: Rows, truth: Truth, how: Judgement) -> list[tuple[Field, str]]:
    fields = fields_of(rows.types)
    names = [field.name for field in fields]
    for option, wanted in (("--compare", how.compare), ("--map", how.renamed)):
        for name in wanted:
            if name not in names:
                there = f"there are: {', '.join(names)}{nearest(name, names)}"
                raise ConfigError(f"{option}: the answers have no field {name!r}; {there}")
    found = [(field, _column(field, rows, truth, how)) for field in fields]
    judged = [(field, column) for field, column in found if column is not None]
    if not judged:
        raise ConfigError(
            f"{truth.file}: none of its columns ({', '.join(truth.columns)}) is a field of the "
            f"answers ({', '.join(names)}); name one with --map COLUMN=FIELD"
        )
    return judged


def _column(field: Field, rows: Rows, truth: Truth, how: Judgement) -> str | None:
    """The truth's column about a field: renamed, of its name, or of its name in one object."""
    if field.name in how.renamed:
        truth.column(how.renamed[field.name])
        return how.renamed[field.name]
    path = ".".join(field.path)
    if path in how.renamed:
        return how.renamed[path]
    for name in dict.fromkeys((field.name, path)):
        if name in truth.columns:
            return name
    within = [
        name
        for name in truth.columns
        if name.endswith(f".{path}") and "." not in (head := name[: -len(path) - 1])
        if head not in rows.types
    ]
    if len(within) > 1:
        raise ConfigError(
            f"{truth.file}: the truth of {path!r} may be {' or '.join(within)}; "
            f"choose with --map {within[0]}={path}"
        )
    return within[0] if within else None


def _judge_field(field: Field, true: Sequence[Any], matched: Matched, how: Judgement) -> Judged:
    errors, column = matched.errors, matched.table[field.path[0]].to_pylist()
    comparer = _comparer(field, true, how).taught(true)
    compare = comparer.compare if comparer.has_parts else _remembering(comparer)
    places, truths, answers, matches = [], [], [], []
    for place, (cell, value) in enumerate(zip(true, column, strict=True)):
        truth = field.true_value(cell, comparer)
        if truth is UNKNOWN or (how.skip_blank and is_blank(truth)):
            continue
        answer = None if errors[place] else field.within(value)
        places.append(place)
        truths.append(None if is_blank(truth) else truth)
        answers.append(answer)
        matches.append(compare(truth, answer))
    right = [
        comparer.is_right(match) and not errors[place]
        for place, match in zip(places, matches, strict=True)
    ]
    return Judged(comparer, places, truths, answers, matches, right)


def _remembering(comparer: Comparer) -> Callable[[Any, Any], Match]:
    """Most cells of a large table are alike: each pair is compared once."""
    known: dict[tuple[type, Any, Any], Match] = {}

    def compare(truth: Any, answer: Any) -> Match:  # noqa: ANN401
        pair = (type(truth), truth, answer)
        try:
            found = known.get(pair)
        except TypeError:  # an object cannot be looked up
            return comparer.compare(truth, answer)
        if found is None:
            found = known[pair] = comparer.compare(truth, answer)
        return found

    return compare


def _comparer(field: Field, true: Sequence[Any], how: Judgement) -> Comparer:
    if field.name in how.compare:
        where = f"--compare {field.name}"
        return fitted(parse_comparer(how.compare[field.name], where=where), field.type)
    comparer = comparer_for(field.type)
    if comparer.kind is Kind.TEXT and is_transcript(true):
        return Comparer(Kind.WORDS)
    return comparer
