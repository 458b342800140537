"""What the rows of all runs say of each item, in the memory of a few bytes an item."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.errors import ConfigError, ErrorCode
from vision_pipeline.core.selection import Selection

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
        if len(self._runs) <= 1 or not self._rows:  # a run has one row an item
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


class Matches:
    """The items whose latest row a selection is about, from the rows of all runs, oldest first.

    Without error codes that is their latest row with an answer: a later error takes none away.

    Args:
        selection: Its parts that go by rows; the others are not looked at.

    Attributes:
        columns: What is read of the rows.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._codes = pa.array(sorted(selection.codes), pa.string())
        self._prompts: set[str] = set()
        self._models: set[str] = set()
        self._kept = _Kept(pa.schema([("item_id", pa.string())]))
        self.columns = (
            "item_id",
            "error_code" if selection.codes else "status",
            *(("prompt", "prompt_version") if selection.prompt else ()),
            *(("model",) if selection.model else ()),
        )

    def add(self, rows: pa.Table, *, run_id: str, model: str) -> None:
        """Add the rows of a file.

        Args:
            rows: `columns`.
            run_id: Whose rows they are.
            model: The one that the run asked, whatever its server calls it.
        """
        is_answer = None if self._selection.codes else _equal(rows["status"], "ok")
        keep = is_answer
        if keep is None:
            keep = pc.is_in(pc.cast(rows["error_code"], pa.string()), self._codes)
        if self._selection.prompt:
            keep = pc.and_(keep, self._is_by_prompt(rows, self._selection.prompt))
        if self._selection.model:
            keep = pc.and_(keep, self._is_by_model(rows, model, self._selection.model))
        if is_answer is not None:
            rows, keep = rows.filter(is_answer), keep.filter(is_answer)
        self._kept.add(rows["item_id"], run_id, rows.select(["item_id"]), keep)

    def item_ids(self) -> pa.StringArray:
        """Their ids.

        Raises:
            ConfigError: No run asked such a prompt, or such a model.
        """
        prompt, model = self._selection.prompt, self._selection.model
        known = self._prompts | {each.partition("@")[0] for each in self._prompts}
        if prompt and prompt not in known:
            raise ConfigError(_unknown("prompt", prompt, self._prompts))
        if model and model not in self._models:
            raise ConfigError(_unknown("model", model, self._models))
        return self._kept.table()["item_id"].combine_chunks()

    def _is_by_prompt(self, rows: pa.Table, wanted: str) -> pa.ChunkedArray:
        names, versions = (
            pc.cast(rows[each], pa.string()) for each in ("prompt", "prompt_version")
        )
        asked = pc.binary_join_element_wise(names, versions, "@")
        self._prompts.update(pc.unique(asked).drop_null().to_pylist())
        return pc.equal(asked if "@" in wanted else names, wanted)

    def _is_by_model(self, rows: pa.Table, asked: str, wanted: str) -> pa.ChunkedArray:
        named = pc.cast(rows["model"], pa.string())
        self._models |= {asked, *pc.unique(named).drop_null().to_pylist()}
        return pc.or_(pc.fill_null(pc.equal(named, wanted), fill_value=False), asked == wanted)


def _unknown(what: str, wanted: str, known: set[str]) -> str:
    there = ", ".join(sorted(known)) or "none"
    return f"{what}: no run here asked {wanted}; there are: {there}"


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
