"""The ways to compare an answer with the truth, and what counts as right in each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from vision_pipeline.core.comparing.amounts import read_amount
from vision_pipeline.core.comparing.dates import read_dates, read_moment
from vision_pipeline.core.comparing.elements import distinct, match_elements
from vision_pipeline.core.comparing.matches import RIGHT, WRONG, Match, of_parts
from vision_pipeline.core.comparing.readings import agree, convention_of
from vision_pipeline.core.comparing.text import folded, similarity, words

Meaning = TypeVar("Meaning")


class Kind(StrEnum):
    """How values are compared. The values are what `--compare FIELD=KIND` takes."""

    EXACT = "exact"
    ENUM = "enum"
    BOOLEAN = "boolean"
    NUMBER = "number"
    MONEY = "money"
    DATE = "date"
    DATETIME = "datetime"
    TEXT = "text"
    WORDS = "words"
    SET = "set"
    LIST = "list"
    STRUCT = "struct"


# Kinds whose limit is the greatest difference that counts as right; of moments in seconds.
DIFFERENCES = {Kind.NUMBER: 0.0, Kind.MONEY: 0.005, Kind.DATETIME: 0.0}
# Kinds whose limit is the least score that counts as right.
SCORES = {Kind.TEXT: 0.9, Kind.WORDS: 0.9, Kind.SET: 1.0, Kind.LIST: 1.0}
_ROUNDING = 1e-9  # relative, of a float that went through text
_TRUE = frozenset({"true", "t", "yes", "y", "1", "x", "on"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "off"})


@dataclass(frozen=True, slots=True)
class Comparer:
    """One way to compare.

    Attributes:
        kind: What the values are taken for.
        limit: The greatest difference of numbers, money and moments (in seconds) that counts as
            right, or the least score, 0 to 1, of text, words, sets and lists; None takes the
            kind's own.
        is_relative: Whether the difference is a part of the true number.
        element: How the elements of a set or list are compared; those that are right are hits.
        leaves: How the fields of a struct are compared.
        convention: How the truth writes dates or numbers, "" where that is not known: of its
            meanings only this one counts, where it has it.
    """

    kind: Kind
    limit: float | None = None
    is_relative: bool = False
    element: Comparer | None = None
    leaves: Mapping[str, Comparer] = field(default_factory=dict)
    convention: str = ""

    @property
    def least_score(self) -> float:
        """From which score on an answer is right."""
        if self.kind not in SCORES:
            return 1.0
        return SCORES[self.kind] if self.limit is None else self.limit

    @property
    def has_parts(self) -> bool:
        """Whether matches count parts, so that there are recall and precision."""
        return self.kind in _PARTS

    def compare(self, truth: Any, answer: Any) -> Match:  # noqa: ANN401  (values of any column)
        """How well an answer fits; None, blank text and an empty list are all nothing."""
        if self.has_parts:
            return _PARTS[self.kind](self, truth, answer)
        if is_blank(truth) or is_blank(answer):
            return RIGHT if is_blank(truth) and is_blank(answer) else WRONG
        if truth == answer and type(truth) is type(answer):
            return RIGHT
        score = float(_WHOLES[self.kind](self, truth, answer))
        return RIGHT if score == 1 else Match(score) if score else WRONG

    def is_right(self, match: Match) -> bool:
        """Whether that is near enough."""
        return match.score >= self.least_score

    def can_read(self, value: Any) -> bool:  # noqa: ANN401
        """Whether a value is of this kind; nothing is of any."""
        reads = _READERS.get(self.kind)
        return reads is None or is_blank(value) or reads(value)

    def taught(self, truths: Iterable[Any]) -> Comparer:
        """The same with the convention that true values, taken together, show."""
        if self.kind not in _CONVENTIONS:
            return self
        reads, among = _CONVENTIONS[self.kind]
        texts = {truth for truth in truths if isinstance(truth, str)}
        return replace(self, convention=convention_of(map(reads, texts), among))

    def meant(self, readings: Mapping[str, Meaning]) -> Mapping[str, Meaning]:
        """What a truth means, of all that it may mean."""
        if self.convention in readings:
            return {self.convention: readings[self.convention]}
        return readings

    def is_near(self, true: Decimal, found: Decimal) -> bool:
        """Whether two numbers differ by no more than the limit, rounding of floats aside."""
        size = abs(float(true))
        limit = DIFFERENCES[self.kind] if self.limit is None else self.limit
        most = limit * size if self.is_relative else limit
        return abs(float(true - found)) <= most + _ROUNDING * size

    def __str__(self) -> str:
        """As `parse_comparer` takes it."""
        if self.limit is None:
            return self.kind
        return (
            f"{self.kind}:{self.limit:.6g}"
            if not self.is_relative
            else (f"{self.kind}:{100 * self.limit:.6g}%")
        )


def is_blank(value: Any) -> bool:  # noqa: ANN401
    """Whether a value says nothing: None, blank text, an empty list, NaN."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value or value.isspace()
    return bool(value == [] or value != value)  # noqa: PLR0124  (as only NaN does)


def as_text(value: Any) -> str:  # noqa: ANN401
    """A value as text; a list as lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(map(as_text, value))
    return "" if is_blank(value) else str(value)


def _exact(_: Comparer, truth: Any, answer: Any) -> bool:  # noqa: ANN401
    # Files without types give text.
    return bool(truth == answer) or str(truth) == str(answer)


def _enum(_: Comparer, truth: Any, answer: Any) -> bool:  # noqa: ANN401
    true, found = as_text(truth), as_text(answer)
    return folded(true) == folded(found) if folded(true) else true.strip() == found.strip()


def _boolean(_: Comparer, truth: Any, answer: Any) -> bool:  # noqa: ANN401
    true = read_boolean(truth)
    return true is not None and true == read_boolean(answer)


def _number(comparer: Comparer, truth: Any, answer: Any) -> bool:  # noqa: ANN401
    return agree(comparer.meant(_numbers(truth)), _numbers(answer), comparer.is_near)


def _money(comparer: Comparer, truth: Any, answer: Any) -> bool:  # noqa: ANN401
    true, found = read_amount(truth), read_amount(answer)
    values = comparer.meant(true.values)
    return true.may_be_in(found) and agree(values, found.values, comparer.is_near)


def _date(comparer: Comparer, truth: Any, answer: Any) -> bool:  # noqa: ANN401
    return agree(comparer.meant(read_dates(truth)), read_dates(answer))


def _datetime(comparer: Comparer, truth: Any, answer: Any) -> bool:  # noqa: ANN401
    true, found = read_moment(truth), read_moment(answer)
    if true is None or found is None:  # one tells the day alone
        return _date(comparer, truth, answer)
    return abs(true - found) <= timedelta(seconds=comparer.limit or 0.0)


def _text(_: Comparer, truth: Any, answer: Any) -> float:  # noqa: ANN401
    return similarity(as_text(truth), as_text(answer))


def _struct(comparer: Comparer, truth: Any, answer: Any) -> float:  # noqa: ANN401
    if not (isinstance(truth, Mapping) and isinstance(answer, Mapping)):
        return 0.0
    right = [
        leaf.is_right(leaf.compare(truth.get(name), answer.get(name)))
        for name, leaf in comparer.leaves.items()
        if name in truth
    ]
    return sum(right) / len(right) if right else float(truth == answer)


def _words(_: Comparer, truth: Any, answer: Any) -> Match:  # noqa: ANN401
    true, found = words(as_text(truth)), words(as_text(answer))
    return of_parts((true & found).total(), true.total(), found.total())


def _list(comparer: Comparer, truth: Any, answer: Any) -> Match:  # noqa: ANN401
    return _elements(comparer, _listed(truth), _listed(answer))


def _set(comparer: Comparer, truth: Any, answer: Any) -> Match:  # noqa: ANN401
    return _elements(comparer, distinct(_listed(truth)), distinct(_listed(answer)))


def _elements(comparer: Comparer, true: list[Any], found: list[Any]) -> Match:
    by = comparer.element or Comparer(Kind.TEXT)

    def nearness(truth: Any, answer: Any) -> float | None:  # noqa: ANN401
        match = by.compare(truth, answer)
        return match.score if by.is_right(match) else None

    return match_elements(true, found, nearness)


def _listed(value: Any) -> list[Any]:  # noqa: ANN401
    if is_blank(value):
        return []
    return value if isinstance(value, list) else [value]


def read_boolean(value: Any) -> bool | None:  # noqa: ANN401
    """A yes or no, also as text or as 0 and 1; None for anything else."""
    text = as_text(value).strip().casefold()
    return True if text in _TRUE else False if text in _FALSE else None


def _numbers(value: Any) -> Mapping[str, Decimal]:  # noqa: ANN401
    return read_amount(value.strip().removesuffix("%") if isinstance(value, str) else value).values


_WHOLES: Mapping[Kind, Callable[[Comparer, Any, Any], float]] = {
    Kind.EXACT: _exact,
    Kind.ENUM: _enum,
    Kind.BOOLEAN: _boolean,
    Kind.NUMBER: _number,
    Kind.MONEY: _money,
    Kind.DATE: _date,
    Kind.DATETIME: _datetime,
    Kind.TEXT: _text,
    Kind.STRUCT: _struct,
}
_PARTS: Mapping[Kind, Callable[[Comparer, Any, Any], Match]] = {
    Kind.WORDS: _words,
    Kind.SET: _set,
    Kind.LIST: _list,
}
_READERS: Mapping[Kind, Callable[[Any], bool]] = {
    Kind.BOOLEAN: lambda value: read_boolean(value) is not None,
    Kind.NUMBER: lambda value: bool(_numbers(value)),
    Kind.MONEY: lambda value: bool(read_amount(value).values),
    Kind.DATE: lambda value: bool(read_dates(value)),
    Kind.DATETIME: lambda value: bool(read_dates(value)),
}
_SIDES = ("point", "comma")
_DAY_OR_MONTH = ("day first", "month first")
_CONVENTIONS: Mapping[Kind, tuple[Callable[[Any], Mapping[str, Any]], Collection[str]]] = {
    Kind.NUMBER: (_numbers, _SIDES),
    Kind.MONEY: (lambda value: read_amount(value).values, _SIDES),
    Kind.DATE: (read_dates, _DAY_OR_MONTH),
    Kind.DATETIME: (read_dates, _DAY_OR_MONTH),
}
