"""What the rows of all runs say of each item, in the memory of a few bytes an item."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.errors import ErrorCode

SETTLED = pa.schema(
    [
        ("_fingerprint", pa.string()),
        ("is_answer", pa.bool_()),
        ("is_unread", pa.bool_()),
        ("versions", pa.list_(pa.string())),
    ]
)
SETTLED_COLUMNS = (
    "item_id",
    "question_sha256",
    "status",
    "error_code",
    "image_version",
    "images",
)
FAILED_COLUMNS = ("item_id", "error_code")
_PERMANENT = [code.value for code in ErrorCode if not code.is_transient]
_UNREAD = [code.value for code in ErrorCode if code.is_of_image]


class _Latest:
    """Which rows of those that were added are the last ones of their items.

    It holds 8 bytes a row: a hash of the item's id. Two ids of one hash make a row look older than
    it is; then its item is asked again, and the ledger answers.
    """

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] = []
        self._runs: set[str] = set()
        self._rows = 0

    def add(self, item_ids: pa.ChunkedArray, run_id: str) -> int:
        """Add rows that are newer than all before; returns the number of the first."""
        hashes = map(hash, item_ids.to_pylist())
        self._hashes.append(np.fromiter(hashes, np.int64, len(item_ids)))
        self._runs.add(run_id)
        first, self._rows = self._rows, self._rows + len(item_ids)
        return first

    def mask(self) -> np.ndarray:
        """True for the rows that count."""
        if len(self._runs) <= 1:  # a run has one row an item
            return np.ones(self._rows, np.bool_)
        hashes = np.concatenate(self._hashes)
        order = np.argsort(hashes, kind="stable")
        in_order = hashes[order]
        is_last = np.append(in_order[1:] != in_order[:-1], np.True_)
        mask = np.zeros(self._rows, np.bool_)
        mask[order[is_last]] = True
        return mask


class _Kept:
    """Rows of interest, until it is known which of them are the latest of their items."""

    def __init__(self, schema: pa.Schema) -> None:
        self._latest = _Latest()
        self._schema = schema
        self._tables: list[pa.Table] = []
        self._numbers: list[np.ndarray] = []

    def add(
        self, item_ids: pa.ChunkedArray, run_id: str, rows: pa.Table, keep: pa.ChunkedArray
    ) -> None:
        """Add the rows of a file, of which only some are of interest if they stay the latest."""
        first = self._latest.add(item_ids, run_id)
        is_kept = pc.fill_null(keep, fill_value=False)
        self._tables.append(rows.filter(is_kept))
        self._numbers.append(np.flatnonzero(is_kept.to_numpy()) + first)

    def table(self) -> pa.Table:
        """Those that are the latest of their items."""
        if not self._tables:
            return self._schema.empty_table()
        is_latest = self._latest.mask()[np.concatenate(self._numbers)]
        table = pa.concat_tables(self._tables)
        return table if is_latest.all() else table.filter(pa.array(is_latest))


class Settlement:
    """The items that need no work for a question, from the rows of all runs, oldest first.

    Args:
        question_sha256: The question.
        abilities: The decoders and limits of now; failures under others are tried again.
    """

    def __init__(self, question_sha256: str, abilities: str) -> None:
        self._question = question_sha256
        self._abilities = abilities
        self._kept = _Kept(SETTLED)

    def add(self, rows: pa.Table, prints: pa.ChunkedArray, *, run_id: str, abilities: str) -> None:
        """Add the rows of a file.

        Args:
            rows: `SETTLED_COLUMNS`.
            prints: The fingerprints of the same items, in the same order.
            run_id: Whose rows they are.
            abilities: Those of the run.
        """
        is_answer = _equal(rows["status"], "ok")
        codes = pc.cast(rows["error_code"], pa.string())
        settles = is_answer
        if abilities == self._abilities:
            settles = pc.or_(is_answer, pc.is_in(codes, pa.array(_PERMANENT)))
        keep = pc.and_(_equal(rows["question_sha256"], self._question), settles)
        is_unread = pc.is_in(codes, pa.array(_UNREAD))
        found = pa.table([prints, is_answer, is_unread, versions_of(rows)], SETTLED)
        self._kept.add(rows["item_id"], run_id, found, keep)

    def table(self) -> pa.Table:
        """As `ResultStore.settled` gives it."""
        return self._kept.table()


class Failures:
    """The items whose latest row is an error, from the rows of all runs, oldest first."""

    def __init__(self, codes: Collection[str]) -> None:
        self._codes = pa.array(sorted(codes), pa.string())
        self._kept = _Kept(pa.schema([("item_id", pa.string())]))

    def add(self, rows: pa.Table, *, run_id: str) -> None:
        """Add the rows of a file, with `FAILED_COLUMNS`."""
        failed = pc.is_in(pc.cast(rows["error_code"], pa.string()), self._codes)
        self._kept.add(rows["item_id"], run_id, rows.select(["item_id"]), failed)

    def item_ids(self) -> pa.StringArray:
        """Their ids."""
        return self._kept.table()["item_id"].combine_chunks()


def versions_of(rows: pa.Table) -> pa.Array:
    """The version of each image of each row; only groups list theirs."""
    if pc.all(pc.equal(pc.list_value_length(rows["images"]), 0)).as_py():
        singles = rows["image_version"].combine_chunks()
        return pa.ListArray.from_arrays(pa.array(range(len(singles) + 1), pa.int32()), singles)
    listed = zip(rows["image_version"].to_pylist(), rows["images"].to_pylist(), strict=True)
    versions = [[each["version"] for each in group] or [single] for single, group in listed]
    return pa.array(versions, SETTLED.field("versions").type)


def _equal(column: pa.ChunkedArray, value: str) -> pa.ChunkedArray:
    return pc.equal(pc.cast(column, pa.string()), value)
