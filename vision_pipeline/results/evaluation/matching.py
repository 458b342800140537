"""Which row of a truth is about which item."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.results.evaluation.truth import UNKNOWN, Truth

_LONGEST_KEY_CHARS = 2000
_SHOWN = 3
_PROBED = 200  # rows of a column, before all of them are looked up


@dataclass(frozen=True, slots=True)
class Matching:
    """Rows of a truth beside rows of a table.

    Attributes:
        column: The truth's column that names the item.
        by: What it names: `item_id`, `image_uri`, `file name` or `file name without its ending`.
        pairs: Places in the truth, and in the table.
        only_in_truth: Keys that no item has.
        only_in_results: Items that the truth does not know.
    """

    column: str
    by: str
    pairs: Sequence[tuple[int, int]]
    only_in_truth: Sequence[str]
    only_in_results: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Choice:
    column: str
    by: str
    found: dict[int, Sequence[int]]  # items by place in the truth


def match_rows(
    truth: Truth, item_ids: Sequence[str], image_uris: Sequence[str], *, key: str | None = None
) -> Matching:
    """Pair the rows by the column and the kind of name that match most.

    Args:
        truth: The true answers.
        item_ids: Of the table's rows, each once.
        image_uris: Likewise.
        key: The truth's column to go by; None looks for it.

    Raises:
        ConfigError: Nothing matches, or a row may be about several items, or an item has several
            rows.
    """
    items = _Items(item_ids, image_uris)
    names = [name for name in truth.columns if "." not in name] if key is None else [key]
    keys = {name: _keys(truth.column(name)) for name in names}
    choices = [choice for name in names for choice in items.choices(name, keys[name], probe=True)]
    if not choices:
        choices = [each for name in names for each in items.choices(name, keys[name], probe=False)]
    most = max((len(choice.found) for choice in choices), default=0)
    if not most:
        raise ConfigError(_nothing_matches(truth, names, item_ids))
    best = [choice for choice in choices if len(choice.found) == most]
    chosen = min(best, key=lambda choice: items.kinds.index(choice.by))
    for other in best:
        if other.column != chosen.column and other.found != chosen.found:
            raise ConfigError(
                f"{truth.file}: `{chosen.column}` and `{other.column}` match as many items, and "
                "different ones; choose with --key COLUMN"
            )
    return _paired(truth, chosen, item_ids)


class _Items:
    """The table's rows by all that may name them."""

    def __init__(self, item_ids: Sequence[str], image_uris: Sequence[str]) -> None:
        paths = [{*each} for each in zip(item_ids, image_uris, strict=True)]
        by_id, by_uri = _places([name] for name in item_ids), _places([uri] for uri in image_uris)
        by_name = _places({_name(path) for path in each} for each in paths)
        by_stem = _places({_stem(path) for path in each} for each in paths)
        alike = {place for places in by_name.values() if len(places) > 1 for place in places}
        by_end = _places(
            {end for path in each for end in _ends(path)} if place in alike else ()
            for place, each in enumerate(paths)
        )

        def by_path(value: str) -> Sequence[int]:
            """Of several items of one file name, those whose path goes on as the value does."""
            places = by_name.get(_name(value), ())
            if len(places) > 1:
                longer = next((by_id[end] for end in _ends(value) if end in by_id), ())
                return by_end.get(value) or longer or places
            return places

        self._finders: dict[str, Callable[[str], Sequence[int]]] = {
            "item_id": lambda value: by_id.get(value, ()),
            "image_uri": lambda value: by_uri.get(value, ()),
            "file name": by_path,
            "file name without its ending": lambda value: by_stem.get(value, ()),
        }
        self.kinds = list(self._finders)

    def choices(self, column: str, keys: Mapping[int, str], *, probe: bool) -> list[_Choice]:
        """What a column may name; with a probe, only where it does for some of its rows."""
        some = list(keys.values())[:: max(1, len(keys) // _PROBED)]
        return [
            _Choice(
                column, by, {place: found for place, key in keys.items() if (found := find(key))}
            )
            for by, find in self._finders.items()
            if not probe or any(map(find, some))
        ]


def _places(names: Iterable[Iterable[str]]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(names):
        for name in each:
            found[name].append(place)
    return dict(found)


def _keys(values: Sequence[Any]) -> dict[int, str]:
    return {place: str(value) for place, value in enumerate(values) if _may_be_key(value)}


def _may_be_key(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, int) and not isinstance(value, bool):
        return True
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_KEY_CHARS


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    name = _name(path)
    return name.rpartition(".")[0] or name


def _ends(path: str) -> list[str]:
    """A path, and what is left of it without its first folders."""
    parts = path.split("/")
    return ["/".join(parts[place:]) for place in range(len(parts))]


def _paired(truth: Truth, chosen: _Choice, item_ids: Sequence[str]) -> Matching:
    values = truth.columns[chosen.column]
    for place, places in chosen.found.items():
        if len(places) > 1:
            may_be = ", ".join(item_ids[each] for each in places[:_SHOWN])
            raise ConfigError(
                f"{truth.file}: `{chosen.column}` {values[place]!r} may be {may_be}; "
                "name item_id or image_uri there, or another column with --key"
            )
    pairs = [(place, places[0]) for place, places in chosen.found.items()]
    often = Counter(item for _, item in pairs)
    twice = [item_ids[item] for item, count in often.items() if count > 1]
    if twice:
        named = ", ".join(twice[:_SHOWN])
        raise ConfigError(
            f"{truth.file}: several rows are about one item, by `{chosen.column}`: {named}; "
            "keep one row an item, or name another column with --key"
        )
    missing = [
        f"(row {place + 1})" if value is UNKNOWN or value is None else str(value)
        for place, value in enumerate(values)
        if place not in chosen.found
    ]
    extra = [name for place, name in enumerate(item_ids) if place not in often]
    return Matching(chosen.column, chosen.by, pairs, missing, extra)


def _nothing_matches(truth: Truth, names: Sequence[str], item_ids: Sequence[str]) -> str:
    values = [f"`{name}` {next(iter(truth.columns[name]))!r}" for name in names[:_SHOWN]]
    return (
        f"{truth.file}: no row matches an item: it has {', '.join(values)}, the table has item_id "
        f"{', '.join(repr(name) for name in item_ids[:_SHOWN])}; name the truth's column of "
        "item ids, image URIs or file names with --key"
    )
