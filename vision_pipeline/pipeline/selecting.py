"""The items of a source that a selection is about, batch by batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.selection import Selection, in_utc
from vision_pipeline.pipeline.services import History

# A local file's version is its time of change in ns; that of a member begins with its archive's.
# Fewer digits, of days around 1970, are those of files without a time, or of an ETag.
_FILE_TIME = r"^(?P<us>-?\d{13,17})\d{3}(?:-|$)"
_NO_TIME = np.iinfo(np.int64).min
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = "us"


class Selector:
    """Picks the items of a source that a selection is about.

    Args:
        selection: Which ones.
        history: Earlier rows, read where the selection goes by them.
        schema: Of the source's batches.
        is_whole: Whether all of the source will be seen, but for what the selection cuts off.

    Raises:
        ConfigError: The source has no such column, or one of another type; no run asked such a
            prompt or model.
    """

    def __init__(
        self, selection: Selection, history: History, schema: pa.Schema, *, is_whole: bool
    ) -> None:
        self._selection = selection
        self._is_whole = is_whole and not selection.is_cut
        self._seen = self._undated = self._others = 0
        if selection.date_column is not None:
            _check_dates(selection.date_column, schema)
        self._ids = history.selected(selection) if selection.looks_back else None
        self._missing = 0 if self._ids is None else len(self._ids)

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The items of a batch that are meant; batches come in the source's order."""
        chosen = self._slice(batch)
        if self._ids is not None:
            chosen = chosen.filter(pc.is_in(chosen["item_id"], self._ids))
            self._missing -= chosen.num_rows
        if self._selection.is_dated:
            chosen = chosen.filter(pa.array(self._in_time(chosen)))
        self._others += batch.num_rows - chosen.num_rows
        return chosen

    def skipped(self) -> dict[str, int]:
        """What is not meant, and what is meant and not there; whole after the last batch."""
        counts = {"without_a_time": self._undated}
        if self._is_whole:
            outcome = "failed" if self._selection.codes else "answered"
            counts[f"{outcome}_and_not_in_the_source"] = self._missing
        if set(self._selection.told()) != {"codes"}:  # a retry is about few of many
            counts["not_selected"] = self._others - self._undated
        return counts

    def _slice(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        first, self._seen = self._seen, self._seen + batch.num_rows
        start = max(0, (self._selection.start or 0) - first)
        stop = batch.num_rows
        if self._selection.stop is not None:
            stop = min(stop, self._selection.stop - first)
        return batch.slice(min(start, batch.num_rows), max(0, stop - start))

    def _in_time(self, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        name = self._selection.date_column
        times = _file_times(batch["images"]) if name is None else _column_times(batch[name])
        known: npt.NDArray[np.bool_] = times != _NO_TIME
        self._undated += int(batch.num_rows - known.sum())
        since, until = self._selection.since, self._selection.until
        if since is not None:
            known &= times >= _us(since)
        if until is not None:
            known &= times < _us(until)
        return known


def _file_times(images: pa.ListArray) -> npt.NDArray[np.int64]:
    """Of each item the time of its newest image, in us."""
    if not len(images):
        return np.empty(0, np.int64)
    versions = pc.struct_field(pc.list_flatten(images), "version")
    found = pc.struct_field(pc.extract_regex(versions, _FILE_TIME), "us")
    times = pc.fill_null(pc.cast(found, pa.int64()), _NO_TIME).to_numpy()
    counts = pc.list_value_length(images).to_numpy()
    newest: npt.NDArray[np.int64] = np.maximum.reduceat(times, np.cumsum(counts) - counts)
    return newest


def _check_dates(name: str, schema: pa.Schema) -> None:
    columns = set(schema.names) - {"item_id", "images"}
    if name not in columns:
        others = ", ".join(sorted(columns)) or "none"
        raise ConfigError(f"date_column: {name}: no such column in the source; there are: {others}")
    kind = schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    known = (pa.types.is_temporal, pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    if pa.types.is_time(kind) or pa.types.is_duration(kind) or not any(is_(kind) for is_ in known):
        raise ConfigError(
            f"date_column: {name}: has the type {kind}; allowed are dates, times, and text such as "
            "2026-11-01 or 2026-11-01T08:30:00+01:00"
        )


def _column_times(column: pa.Array) -> npt.NDArray[np.int64]:
    """Of each value the time in us; UTC where it does not say otherwise."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        zone = column.type.tz if pa.types.is_timestamp(column.type) else None
        stamps = pc.cast(column, pa.timestamp(_MICROSECOND, zone), safe=False)
        times: npt.NDArray[np.int64] = pc.fill_null(
            pc.cast(stamps, pa.int64()), _NO_TIME
        ).to_numpy()
        return times
    return np.fromiter(map(_parsed_us, column.to_pylist()), np.int64, len(column))


def _parsed_us(text: str | None) -> int:
    try:
        time = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return int(_NO_TIME)
    return _us(in_utc(time))


def _us(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
