"""Two runs beside each other: what changed, and whether for the better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.comparing.comparers import Comparer
from vision_pipeline.core.comparing.spelling import parse_comparer
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.proportions import chance_of_change, paired_gain, wilson
from vision_pipeline.core.suggestions import nearest
from vision_pipeline.results.evaluation.changes import (
    Change,
    Difference,
    ErrorChange,
    FieldChanges,
    Gain,
    Side,
)
from vision_pipeline.results.evaluation.fields import Field, fields_of, fitted
from vision_pipeline.results.evaluation.judging import Judgement, judge
from vision_pipeline.results.evaluation.rows import Rows, costs_of, read_chosen
from vision_pipeline.results.evaluation.scores import Judged
from vision_pipeline.results.evaluation.truth import Truth, read_truth


def diff(  # noqa: PLR0913  (options of a notebook's function, by name)
    output: str,
    before: str | None = None,
    after: str | None = None,
    *,
    other: str | None = None,
    compare: Mapping[str, str] | None = None,
    truth: str | None = None,
    renamed: Mapping[str, str] | None = None,
    key: str | None = None,
    skip_blank: bool = False,
    unchecked: bool = False,
) -> Difference:
    """Compare the answers of two runs, or of two outputs, about the items that both have.

    Args:
        output: The output folder of a run, local or a URL.
        before: A run's id, its beginning or end, `latest` or `previous`; by default the run
            before the latest, or, with `other`, the latest row of each item.
        after: Likewise; by default the latest run.
        other: The output folder of `after`, where it is another one.
        compare: How to compare, by field, as for `evaluate`; other cells are the same only where
            they are equal.
        truth: A file of true answers; then the gain in accuracy is told too.
        renamed: As for `evaluate`.
        key: As for `evaluate`.
        skip_blank: As for `evaluate`.
        unchecked: As for `evaluate`.

    Raises:
        ConfigError: No such run, or as for `evaluate`.
        OutputError: It is no output folder, or cannot be read.
    """
    how = Judgement(
        compare=compare or {},
        renamed=renamed or {},
        key=key,
        skip_blank=skip_blank,
        worst=0,
    )
    true = None if truth is None else read_truth(truth, unchecked=unchecked)
    if other is None:
        before, after = before or "previous", after or "latest"
    return compared(read_chosen(output, before), read_chosen(other or output, after), true, how)


def compared(before: Rows, after: Rows, truth: Truth | None, how: Judgement) -> Difference:
    """Compare rows that are read already.

    Raises:
        ConfigError: They have no item or no field in common, or as for `evaluate`.
    """
    first, second = _common(before, after)
    fields = _common_fields(first, second)
    tables = first.table, second.table
    ok = [pc.equal(table["status"], "ok").to_pylist() for table in tables]
    both = [one and other for one, other in zip(*ok, strict=True)]
    ids, uris = (list(compress(tables[0][name].to_pylist(), both)) for name in _KEYS)
    changes = []
    for field in fields:
        comparer = _comparer(field, how, [each.name for each in fields])
        cells = [list(compress(_cells(field, table), both)) for table in tables]
        changes.append(_field_changes(field.name, comparer, ids, uris, *cells))
    return Difference(
        before=_side(first, before),
        after=_side(second, after),
        items=tables[0].num_rows,
        answered_in_both=len(ids),
        other_images=_other_images(*tables),
        fields=changes,
        only_before=sorted(before.types.keys() - after.types.keys()),
        only_after=sorted(after.types.keys() - before.types.keys()),
        errors=_errors(*tables),
        gains=() if truth is None else _gains(first, second, truth, how),
    )


_KEYS = ("item_id", "image_uri")


def _common(before: Rows, after: Rows) -> tuple[Rows, Rows]:
    """The rows of the items that both have, in one order."""
    places = {name: place for place, name in enumerate(after.table["item_id"].to_pylist())}
    pairs = [
        (place, places[name])
        for place, name in enumerate(before.table["item_id"].to_pylist())
        if name in places
    ]
    if not pairs:
        raise ConfigError(
            f"{before.output} ({before.label}) and {after.output} ({after.label}) have no item in "
            "common; a run has rows of what it worked on alone"
        )
    first, second = (pa.array(each, pa.int64()) for each in zip(*pairs, strict=True))
    return (
        replace(before, table=before.table.take(first)),
        replace(after, table=after.table.take(second)),
    )


def _common_fields(before: Rows, after: Rows) -> list[Field]:
    later = {field.name for field in fields_of(after.types)}
    fields = [field for field in fields_of(before.types) if field.name in later]
    if not fields:
        raise ConfigError(
            f"their answers have no field in common: {', '.join(before.types)}; "
            f"{', '.join(after.types)}"
        )
    return [field for field in fields if not field.element_key]


def _comparer(field: Field, how: Judgement, names: Sequence[str]) -> Comparer | None:
    for name in how.compare:
        if name not in names:
            there = f"there are: {', '.join(names)}{nearest(name, names)}"
            raise ConfigError(f"--compare: the runs have no field {name!r} in common; {there}")
    spelled = how.compare.get(field.name)
    if spelled is None:
        return None
    return fitted(parse_comparer(spelled, where=f"--compare {field.name}"), field.type)


def _cells(field: Field, table: pa.Table) -> Iterable[Any]:
    return map(field.within, table[field.path[0]].to_pylist())


def _field_changes(  # noqa: PLR0913, PLR0917  (columns of one table)
    name: str,
    comparer: Comparer | None,
    ids: Sequence[str],
    uris: Sequence[str],
    before: Sequence[Any],
    after: Sequence[Any],
) -> FieldChanges:
    changed = [
        Change(*cells)
        for cells in zip(ids, uris, before, after, strict=True)
        if not _is_same(comparer, cells[2], cells[3])
    ]
    return FieldChanges(name, len(ids), wilson(len(ids) - len(changed), len(ids)), changed)


def _is_same(comparer: Comparer | None, one: Any, other: Any) -> bool:  # noqa: ANN401
    if one == other:
        return True
    return comparer is not None and comparer.is_right(comparer.compare(one, other))


def _side(common: Rows, whole: Rows) -> Side:
    table = common.table
    costs, latencies = costs_of(table), table["latency_s"].drop_null().to_pylist()
    # A row without an answer names the model as the recipe does, not who it turned out to be.
    answered = table.filter(pc.equal(table["status"], "ok"))
    whose = (answered if answered.num_rows else table).select(("prompt", "prompt_version", "model"))
    asked = {
        f"{row['prompt']} v{row['prompt_version']}, {row['model']}" for row in whose.to_pylist()
    }
    return Side(
        output=whole.output,
        label=whole.label,
        asked="; ".join(sorted(asked)),
        rows=whole.table.num_rows,
        errors=sum(status != "ok" for status in table["status"].to_pylist()),
        cost_usd=None if costs is None else sum(costs),
        from_ledger=sum(table["from_ledger"].to_pylist()),
        median_latency_s=median(latencies) if latencies else None,
    )


def _other_images(before: pa.Table, after: pa.Table) -> int:
    pairs = zip(*(table["image_sha256"].to_pylist() for table in (before, after)), strict=True)
    return sum(None not in pair and pair[0] != pair[1] for pair in pairs)


def _errors(before: pa.Table, after: pa.Table) -> list[ErrorChange]:
    ids, uris = (before[name].to_pylist() for name in _KEYS)
    codes = (table["error_code"].to_pylist() for table in (before, after))
    return [ErrorChange(*row) for row in zip(ids, uris, *codes, strict=True) if row[2] != row[3]]


def _gains(before: Rows, after: Rows, truth: Truth, how: Judgement) -> list[Gain]:
    first, second = judge(before, truth, how), judge(after, truth, how)
    gains = []
    for name, one in first.judged.items():
        if name in second.judged:
            was = _right_by_item(one, first.item_ids)
            now = _right_by_item(second.judged[name], second.item_ids)
            pairs = [(was[item], now[item]) for item in was if item in now]
            gains.append(_gain(name, str(one.comparer), pairs))
    return gains


def _right_by_item(judged: Judged, item_ids: Sequence[str]) -> dict[str, bool]:
    return {
        item_ids[place]: right for place, right in zip(judged.places, judged.right, strict=True)
    }


def _gain(name: str, compared_as: str, pairs: Sequence[tuple[bool, bool]]) -> Gain:
    gained = sum(now and not was for was, now in pairs)
    lost = sum(was and not now for was, now in pairs)
    return Gain(
        field=name,
        compared_as=compared_as,
        rows=len(pairs),
        right_before=sum(was for was, _ in pairs),
        right_after=sum(now for _, now in pairs),
        gained=gained,
        lost=lost,
        gain=paired_gain(gained, lost, len(pairs)),
        chance=chance_of_change(gained, lost),
    )
