"""What a comparison of two runs found: small objects for notebooks, JSON and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from vision_pipeline.core.forecast import Interval

_COLUMNS = pd.Index(["item_id", "field", "before", "after"])


@dataclass(frozen=True, slots=True)
class Change:
    """One cell that is not the same in both."""

    item_id: str
    image_uri: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ErrorChange:
    """One item whose error came, went or became another; None is an answer."""

    item_id: str
    image_uri: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class FieldChanges:
    """One field of the items that are answered in both.

    Attributes:
        field: Such as `total` or `address.city`.
        items: How many are answered in both.
        agreement: The share that is the same, with the bounds of 95 of 100 samples.
        changed: Those that are not.
    """

    field: str
    items: int
    agreement: Interval
    changed: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better one field is answered, of the items that have a truth.

    Attributes:
        gained: Right after, and not before.
        lost: Right before, and not after.
        gain: Of accuracy, from -1 to 1, with the bounds of 95 of 100 samples.
        chance: How likely so uneven a change is by chance alone (McNemar's exact test).
    """

    field: str
    compared_as: str
    rows: int
    right_before: int
    right_after: int
    gained: int
    lost: int
    gain: Interval
    chance: float


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        label: A run's id, or `latest row of each item`.
        asked: Prompt, version and model.
        rows: All of them; the other figures are of the items that both have.
        cost_usd: None where a row has no price.
        from_ledger: Rows whose reply another row paid for; they cost 0.
        median_latency_s: Of the requests; None where there was none.
    """

    output: str
    label: str
    asked: str
    rows: int
    errors: int
    cost_usd: float | None
    from_ledger: int
    median_latency_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two runs beside each other.

    Attributes:
        items: That both have.
        answered_in_both: Of those, the ones whose cells are compared.
        other_images: Items whose image itself is another one.
        only_before: Columns of the answer that the second has no more.
        only_after: Columns of the answer that the first did not have.
        errors: Items whose error came, went or became another.
        gains: In accuracy, where there is a truth.
    """

    before: Side
    after: Side
    items: int
    answered_in_both: int
    other_images: int
    fields: Sequence[FieldChanges]
    only_before: Sequence[str]
    only_after: Sequence[str]
    errors: Sequence[ErrorChange]
    gains: Sequence[Gain] = field(default=())

    @property
    def errors_gained(self) -> Sequence[ErrorChange]:
        """Items that were answered before, and are errors now."""
        return [each for each in self.errors if each.before is None]

    @property
    def errors_lost(self) -> Sequence[ErrorChange]:
        """Items that were errors before, and are answered now."""
        return [each for each in self.errors if each.after is None]

    @property
    def changed(self) -> int:
        """How many cells are not the same."""
        return sum(len(each.changed) for each in self.fields)

    def __getitem__(self, name: str) -> FieldChanges:
        """One field's changes."""
        return {each.field: each for each in self.fields}[name]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def to_pandas(self) -> pd.DataFrame:
        """A row a changed cell, those of errors with the field `error_code`."""
        cells = [
            (one.item_id, each.field, one.before, one.after)
            for each in self.fields
            for one in each.changed
        ]
        cells += [(each.item_id, "error_code", each.before, each.after) for each in self.errors]
        return pd.DataFrame(cells, columns=_COLUMNS, dtype=object)

    def _repr_html_(self) -> str:
        from vision_pipeline.results.evaluation.page import DIFFERENCE, fragment  # noqa: PLC0415

        return fragment(DIFFERENCE, self)
