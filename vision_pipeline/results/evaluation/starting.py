"""The start of a truth: some items, their answers filled in, for a person to correct."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from vision_pipeline.core.comparing.comparers import Kind
from vision_pipeline.core.errors import ConfigError, OutputError
from vision_pipeline.core.proportions import allotted
from vision_pipeline.core.suggestions import nearest
from vision_pipeline.results.evaluation.fields import Field, comparer_for, fields_of
from vision_pipeline.results.evaluation.page import labelling_page, write_page
from vision_pipeline.results.evaluation.rows import Rows, read_chosen
from vision_pipeline.results.evaluation.thumbnails import local_thumbnail
from vision_pipeline.results.evaluation.truth import CHECKED
from vision_pipeline.results.table import open_folder, read_rows

_MOST_CLASSES, _CLASS_CHARS = 20, 60
_SEEN_SIDE_PX = 1000
_CLASSES = frozenset({Kind.ENUM, Kind.BOOLEAN})


@dataclass(frozen=True, slots=True)
class Started:
    """A truth that waits for a person.

    Attributes:
        table: The CSV, and
        page: the page beside it on which its answers are corrected.
        strata: How many items were drawn, and of how many, by what they have in common.
    """

    table: str
    page: str
    strata: Mapping[str, tuple[int, int]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def start_truth(  # noqa: PLR0913  (options of a notebook's function, by name)
    output: str,
    out: Path,
    *,
    count: int,
    stratify: str | None = None,
    seed: int = 0,
    run: str | None = None,
    thumbnail: Callable[[str], bytes | None] | None = None,
) -> Started:
    """Draw items and write their answers for a person to correct.

    Items are drawn from errors, from those that two runs answered differently, and from each
    answer of a field with few of them: in proportion, and one of each at least.

    Args:
        output: The output folder.
        out: The CSV to write; a page of the same name stands beside it.
        count: How many items, at least 1.
        stratify: The field to go by; None takes the first with classes.
        seed: Another one draws other items.
        run: As for `evaluate`.
        thumbnail: An image's JPEG by its URI, or None; by default of files on this machine.

    Raises:
        ConfigError: No such field, or there is such a file already.
        OutputError: It is no output folder, or nothing can be written there.
    """
    if out.suffix.lower() != ".csv":
        raise ConfigError(f"--out: {out}: a truth to correct is a CSV: name a .csv file")
    page = out.with_suffix(".html")
    for path in (out, page):
        if path.exists():
            raise ConfigError(f"{path}: is there already, perhaps corrected; name another --out")
    rows = read_chosen(output, run)
    strata = _strata(rows, stratify)
    drawn = _drawn(strata, count, random.Random(seed))
    places = sorted(place for each in drawn.values() for place in each)
    fields = [field for field in fields_of(rows.types) if not field.element_key]
    listed = _listed(rows, fields, places)
    document = labelling_page(
        [(field.name, _choices(field, rows)) for field in fields],
        listed,
        file_name=out.name,
        thumbnail=thumbnail or (lambda uri: local_thumbnail(uri, side_px=_SEEN_SIDE_PX)),
    )
    write_page(_csv(listed), out)
    write_page(document, page)
    found = {name: (len(each), len(strata[name])) for name, each in drawn.items()}
    return Started(str(out), str(page), found)


def _strata(rows: Rows, stratify: str | None) -> dict[str, list[int]]:
    """Places of rows by what they have in common."""
    if stratify is not None and stratify not in rows.types:
        there = f"there are: {', '.join(rows.types)}{nearest(stratify, rows.types)}"
        raise ConfigError(f"--stratify: the answers have no field {stratify!r}; {there}")
    field = stratify or _field_of_classes(rows)
    answers = rows.table[field].to_pylist() if field else [None] * rows.table.num_rows
    differing = _answered_differently(rows)
    found: dict[str, list[int]] = {}
    columns = zip(
        rows.table["item_id"].to_pylist(), rows.table["status"].to_pylist(), answers, strict=True
    )
    for place, (item_id, status, answer) in enumerate(columns):
        if status != "ok":
            name = "errors"
        elif item_id in differing:
            name = "answered differently by two runs"
        else:
            name = f"{field}: {'(nothing)' if answer is None else answer}" if field else "answers"
        found.setdefault(name, []).append(place)
    return found


def _field_of_classes(rows: Rows) -> str | None:
    for name, kind in rows.types.items():
        if comparer_for(kind).kind in _CLASSES:
            return name
    for name, kind in rows.types.items():
        if pa.types.is_string(kind) and _is_of_classes(rows.table[name].unique().to_pylist(), rows):
            return name
    return None


def _is_of_classes(answers: Sequence[str | None], rows: Rows) -> bool:
    """Whether so few and short answers come again and again."""
    most = min(_MOST_CLASSES, rows.table.num_rows // 2)
    return 1 < len(answers) <= most and all(len(each or "") <= _CLASS_CHARS for each in answers)


def _answered_differently(rows: Rows) -> set[str]:
    """Items whose two latest answers are not the same."""
    try:
        columns = ["item_id", "status", "run_id", *rows.types]
        table = read_rows(open_folder(rows.output), columns=columns)
    except OutputError:  # runs whose types do not fit: nothing to tell
        return set()
    if len(table["run_id"].unique()) == 1:
        return set()
    latest: dict[str, tuple[Any, ...]] = {}
    differing: set[str] = set()
    names = ("item_id", "status", *rows.types)
    for item_id, status, *answer in zip(*(table[name].to_pylist() for name in names), strict=True):
        if status == "ok":
            if item_id in latest:
                changed = latest[item_id] != tuple(answer)
                (differing.add if changed else differing.discard)(item_id)
            latest[item_id] = tuple(answer)
    return differing


def _drawn(
    strata: Mapping[str, Sequence[int]], count: int, chance: random.Random
) -> dict[str, list[int]]:
    sizes = {name: len(places) for name, places in strata.items()}
    allotment = allotted(sizes, count)
    return {name: chance.sample(strata[name], number) for name, number in allotment.items()}


def _listed(rows: Rows, fields: Sequence[Field], places: Sequence[int]) -> list[dict[str, str]]:
    table = rows.table.take(pa.array(places, pa.int64()))
    cells = {field.name: table[field.path[0]].to_pylist() for field in fields}
    keys = zip(table["item_id"].to_pylist(), table["image_uri"].to_pylist(), strict=True)
    return [
        {"item_id": item_id, "image_uri": uri}
        | {field.name: _cell(field.within(cells[field.name][place])) for field in fields}
        | {CHECKED: ""}
        for place, (item_id, uri) in enumerate(keys)
    ]


def _cell(value: Any) -> str:  # noqa: ANN401
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case date() | datetime():
            return value.isoformat()
        case list() | dict():
            return orjson.dumps(value, default=str).decode()
        case _:
            return str(value)


def _choices(field: Field, rows: Rows) -> Sequence[str]:
    kind = comparer_for(field.type).kind
    if kind is Kind.BOOLEAN:
        return ("true", "false")
    if kind is not Kind.ENUM:
        return ()
    answers = {field.within(value) for value in rows.table[field.path[0]].to_pylist()}
    labels = [str(answer) for answer in answers if answer is not None]
    return sorted(labels)


def _csv(listed: Sequence[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(listed[0]))
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()
