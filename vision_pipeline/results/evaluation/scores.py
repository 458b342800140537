"""What an evaluation found: small objects for notebooks, JSON and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from vision_pipeline.core.comparing.comparers import Comparer, Kind, is_blank, read_boolean
from vision_pipeline.core.comparing.matches import Match
from vision_pipeline.core.comparing.text import folded
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.forecast import Interval
from vision_pipeline.core.suggestions import nearest
from vision_pipeline.results.evaluation.matching import Matching

METRICS = ("accuracy", "recall", "precision", "f1")


@dataclass(frozen=True, slots=True)
class Example:
    """One answer beside its truth.

    Attributes:
        score: From 0, all wrong, to 1.
        error_code: Why there is no answer, or None.
    """

    item_id: str
    image_uri: str
    truth: Any
    answer: Any
    score: float
    error_code: str | None


@dataclass(frozen=True, slots=True)
class FieldScore:
    """How well one field was answered.

    Attributes:
        field: Such as `total`, `address.city` or `items[].price`.
        compared_as: As `--compare` takes it.
        truth_column: Where its truth stands.
        rows: Judged ones; errors among them count as wrong.
        answered: Those whose answer says something.
        right: Those that are right.
        errors: Those without an answer at all.
        accuracy: The share that is right, with the bounds of 95 of 100 samples.
        mean_score: From 0 to 1; how near they are, on average.
        recall: Of all words or elements of the truth, those found; None for what has no parts.
        precision: Of all words or elements found, those of the truth; likewise.
        f1: The harmonic mean of the two; likewise.
        found: How many words or elements were found, of `wanted`.
        cost_per_right_usd: What the judged rows cost, for each right answer; None if unknown.
        unreadable: Truths that cannot be read as what the field is compared as.
        convention: How the truth writes dates or numbers, where it shows that: `day first`,
            `month first`, `point` or `comma` before decimals; else "".
        confusion: Of classes, how often each was answered, by the true one; else empty.
        worst: Wrong answers, the worst first.
    """

    field: str
    compared_as: str
    truth_column: str
    rows: int
    answered: int
    right: int
    errors: int
    accuracy: Interval
    mean_score: float
    recall: float | None
    precision: float | None
    f1: float | None
    found: int
    wanted: int
    cost_per_right_usd: float | None
    unreadable: int
    convention: str
    confusion: Mapping[tuple[str, str], int]
    worst: Sequence[Example]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        table = [
            {"truth": true, "answer": answer, "rows": count}
            for (true, answer), count in self.confusion.items()
        ]
        return asdict(self) | {"confusion": table}


@dataclass(frozen=True, slots=True)
class Judged:
    """One field, row by row; all of one length.

    Attributes:
        places: Of the rows among all matched ones.
        truths: What is true.
        answers: What was answered; None for an error.
        matches: How well they fit.
        right: Whether that is near enough.
    """

    comparer: Comparer
    places: Sequence[int]
    truths: Sequence[Any]
    answers: Sequence[Any]
    matches: Sequence[Match]
    right: Sequence[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How well an output answered.

    Attributes:
        output: The output folder.
        label: Which rows: `latest row of each item`, or a run's id.
        truth: The file of true answers.
        matching: Which of its rows is about which item.
        unchecked: Rows of the truth left out since nobody has checked them.
        unused: Columns of the truth that are about no field of the answers.
        rows: Items that are in both.
        errors: Those whose row is an error; they count as wrong in every field.
        coverage: The share of rows with an answer.
        right: Rows that are right in every field that is judged.
        accuracy: Their share.
        cost_usd: What the rows cost, or None where one has no price.
        from_ledger: Rows whose reply another row paid for.
        fields: One by one.
        judged: Row by row, by field.
        item_ids: Of the rows.
    """

    output: str
    label: str
    truth: str
    matching: Matching = field(repr=False)
    unchecked: int
    unused: Sequence[str]
    rows: int
    errors: int
    coverage: Interval
    right: int
    accuracy: Interval
    cost_usd: float | None
    from_ledger: int
    fields: Sequence[FieldScore]
    judged: Mapping[str, Judged] = field(repr=False)
    item_ids: Sequence[str] = field(repr=False)

    @property
    def cost_per_right_usd(self) -> float | None:
        """What a row cost that is right in every field; None if unknown, or none is."""
        return None if self.cost_usd is None or not self.right else self.cost_usd / self.right

    def __getitem__(self, name: str) -> FieldScore:
        """One field's score."""
        return {each.field: each for each in self.fields}[name]

    def value(self, name: str) -> float:
        """The accuracy of a field, or what follows its name: `text.recall`.

        Raises:
            ConfigError: No such field, or it has no parts.
        """
        by_name = {each.field: each for each in self.fields}
        whole, _, metric = name.rpartition(".")
        if name in by_name:
            return by_name[name].accuracy.likely
        if whole in by_name and metric in METRICS:
            found = (
                by_name[whole].accuracy.likely
                if metric == "accuracy"
                else (getattr(by_name[whole], metric))
            )
            if found is None:
                raise ConfigError(f"{name}: {whole} is one value, and has an accuracy only")
            return float(found)
        judged = ", ".join(by_name)
        raise ConfigError(f"{name!r} is not judged here; judged: {judged}{nearest(name, by_name)}")

    def below(self, least: Mapping[str, float]) -> list[str]:
        """What is less than it should be, a line each.

        Args:
            least: By field, as `value` takes it.
        """
        found = {name: self.value(name) for name in least}
        return [
            f"{name} is {found[name]:.1%}, less than {most:.1%}"
            for name, most in least.items()
            if found[name] < most
        ]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        kept = ("output", "label", "truth", "unchecked", "rows", "errors", "right", "cost_usd")
        return {
            **{name: getattr(self, name) for name in kept},
            "coverage": asdict(self.coverage),
            "accuracy": asdict(self.accuracy),
            "cost_per_right_usd": self.cost_per_right_usd,
            "from_ledger": self.from_ledger,
            "matched_by": {"column": self.matching.column, "names": self.matching.by},
            "unused": list(self.unused),
            "only_in_truth": list(self.matching.only_in_truth),
            "only_in_results": list(self.matching.only_in_results),
            "fields": [each.to_dict() for each in self.fields],
        }

    def to_pandas(self) -> pd.DataFrame:
        """A row a field."""
        rows = [
            {
                "field": each.field,
                "compared_as": each.compared_as,
                "rows": each.rows,
                "answered": each.answered,
                "right": each.right,
                "accuracy": each.accuracy.likely,
                "low": each.accuracy.low,
                "high": each.accuracy.high,
                "mean_score": each.mean_score,
                "recall": each.recall,
                "precision": each.precision,
                "cost_per_right_usd": each.cost_per_right_usd,
            }
            for each in self.fields
        ]
        return pd.DataFrame(rows).set_index("field")

    def cells(self) -> pd.DataFrame:
        """A row an item and field: truth, answer, score, whether right, words found of wanted."""
        parts = [
            pd.DataFrame(
                {
                    "item_id": [self.item_ids[place] for place in each.places],
                    "field": name,
                    "truth": pd.Series(list(each.truths), dtype=object),
                    "answer": pd.Series(list(each.answers), dtype=object),
                    "score": [match.score for match in each.matches],
                    "right": list(each.right),
                    "found": [match.hits for match in each.matches],
                    "wanted": [match.wanted for match in each.matches],
                }
            )
            for name, each in self.judged.items()
        ]
        return pd.concat(parts, ignore_index=True)

    def _repr_html_(self) -> str:
        from vision_pipeline.results.evaluation.page import EVALUATION, fragment  # noqa: PLC0415

        return fragment(EVALUATION, self)


def confusion(judged: Judged, errors: Sequence[bool]) -> Mapping[tuple[str, str], int]:
    """How often each class was answered, by the true one, the most frequent first."""
    spelled: dict[str, str] = {}  # as the answers do
    for answer in judged.answers:
        if not is_blank(answer):
            spelled.setdefault(_class(judged, answer), str(answer))

    def label(value: Any) -> str:  # noqa: ANN401
        return "(nothing)" if is_blank(value) else spelled.get(_class(judged, value), str(value))

    counts: Counter[tuple[str, str]] = Counter()
    rows = zip(judged.places, judged.truths, judged.answers, strict=True)
    for place, truth, answer in rows:
        counts[label(truth), "(error)" if errors[place] else label(answer)] += 1
    return dict(counts.most_common())


def _class(judged: Judged, value: Any) -> str:  # noqa: ANN401
    yes = read_boolean(value) if judged.comparer.kind is Kind.BOOLEAN else None
    return folded(str(value)) or str(value) if yes is None else str(yes)
