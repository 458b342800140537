"""Items of earlier runs, each by its latest row among those of some questions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.pages import PAGE, superseded

ORIGIN_NAME = "_origin"
EARLIER_COLUMNS = ("item_id", "question_sha256", "status", "prompt_tokens")

# What the row of an item makes of it; from `_UNREPLIED` on it is listed.
_NONE, _ANSWERED, _FAILED, _UNREPLIED, _REPLIED = range(5)

Hashes = npt.NDArray[np.int64]
States = npt.NDArray[np.int8]


class Runs(Protocol):
    """What is needed of the output folder."""

    def parts(self, columns: Sequence[str]) -> Iterator[tuple[str, Sequence[int], pa.Table]]:
        """Run, shards and their rows, of all runs, oldest first; the same ones every time."""

    def manifest_schema(self, run_id: str) -> pa.Schema:
        """The columns of a manifest."""

    def manifest_parts(self, run_id: str, shards: Sequence[int]) -> Iterator[tuple[int, pa.Table]]:
        """Some shards of a manifest, one after the other."""


class EarlierItems:
    """As `Results.earlier` gives them; holds 17 bytes a row of all runs.

    Of two ids of one hash only one is found, so that one item in 10^7 runs of a million keeps the
    row that it has.
    """

    def __init__(self, runs: Runs, questions: Collection[str], settled_in: Collection[str]) -> None:
        self._runs = runs
        self._questions = pa.array(sorted(questions), pa.string())
        self._settled_in = frozenset(settled_in)
        self._parts: list[tuple[str, Sequence[int], int]] = []
        hashes, states, documents = self._read()
        gone = self._superseded(hashes, documents)
        self._states = _latest(hashes, np.where(np.isin(hashes, gone), _NONE, states))
        counts = np.bincount(self._states, minlength=_REPLIED + 1).tolist()
        _, self.answered, self.failed, self.unreplied, self.replied = counts
        self.others = len(np.unique(hashes)) - len(gone) - sum(counts[_ANSWERED:])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The items as their manifests list them, in the order of the runs.

        Raises:
            OutputError: A manifest is damaged, or those of two runs do not fit together.
        """
        schema = self._schema()
        for run_id, shards, is_listed in self._listed():
            first = 0
            for shard, items in self._runs.manifest_parts(run_id, shards):
                chosen = items.filter(pa.array(is_listed[first : first + items.num_rows]))
                first += items.num_rows
                if chosen.num_rows:
                    yield from _with_origin(chosen, schema, run_id, shard).to_batches()

    def _listed(self) -> Iterator[tuple[str, Sequence[int], npt.NDArray[np.bool_]]]:
        """Runs and shards with items to list, and which of their rows these are."""
        start = 0
        for run_id, shards, count in self._parts:
            is_listed = self._states[start : start + count] >= _UNREPLIED
            start += count
            if is_listed.any():
                yield run_id, shards, is_listed

    def _read(self) -> tuple[Hashes, States, Hashes]:
        """Of each row the hash of its item and its state; and the hashes of pages' documents."""
        hashes, states, documents = [np.empty(0, np.int64)], [np.empty(0, np.int8)], set()
        for run_id, shards, rows in self._runs.parts(EARLIER_COLUMNS):
            self._parts.append((run_id, shards, rows.num_rows))
            hashes.append(_hashes(rows["item_id"]))
            states.append(self._state(rows, is_settled=run_id in self._settled_in))
            pages = pc.match_substring_regex(rows["item_id"], PAGE)
            documents.update(_documents(rows["item_id"].filter(pages)).tolist())
        found = np.fromiter(documents, np.int64, len(documents))
        return np.concatenate(hashes), np.concatenate(states), found

    def _state(self, rows: pa.Table, *, is_settled: bool) -> States:
        asks = pc.is_in(pc.cast(rows["question_sha256"], pa.string()), self._questions)
        if is_settled:
            is_good = pc.equal(pc.cast(rows["status"], pa.string()), "ok")
            good, bad = _ANSWERED, _FAILED
        else:
            is_good = pc.is_valid(rows["prompt_tokens"])
            good, bad = _REPLIED, _UNREPLIED
        state = np.where(is_good.to_numpy(), good, bad)
        return np.where(asks.to_numpy(), state, _NONE).astype(np.int8)

    def _superseded(self, hashes: Hashes, documents: Hashes) -> Hashes:
        """Hashes of items whose document was divided otherwise since."""
        of_both_kinds = documents[np.isin(documents, hashes)]
        if not len(of_both_kinds):
            return of_both_kinds
        pairs: list[tuple[str, str]] = []
        for run_id, _, rows in self._runs.parts(["item_id"]):
            concerned = np.isin(_documents(rows["item_id"]), of_both_kinds)
            pairs += ((each, run_id) for each in rows["item_id"].filter(concerned).to_pylist())
        return _hashes(pa.array(sorted(superseded(pairs)), pa.string()))

    def _schema(self) -> pa.Schema:
        """One that holds the manifests of all runs of which there are items."""
        runs = list(dict.fromkeys(run_id for run_id, _, _ in self._listed()))
        schemas = [_without_origin(self._runs.manifest_schema(run_id)) for run_id in runs]
        try:
            return pa.unify_schemas([pa.schema([]), *schemas], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise OutputError(
                f"the manifests of the runs {', '.join(runs)} do not fit together: {error}"
            ) from error


def _latest(hashes: Hashes, states: States) -> States:
    """States of the last row of each item that has one; `_NONE` for all others."""
    rows = np.flatnonzero(states)
    order = rows[np.argsort(hashes[rows], kind="stable")]
    in_order = hashes[order]
    is_last = np.append(in_order[1:] != in_order[:-1], np.True_)[: len(order)]
    latest = np.zeros_like(states)
    latest[order[is_last]] = states[order[is_last]]
    return latest


def _hashes(item_ids: pa.ChunkedArray) -> Hashes:
    return np.fromiter(map(hash, item_ids.to_pylist()), np.int64, len(item_ids))


def _documents(item_ids: pa.ChunkedArray) -> Hashes:
    return _hashes(pc.replace_substring_regex(item_ids, PAGE, ""))


def _without_origin(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if field.name != ORIGIN_NAME])


def _with_origin(items: pa.Table, schema: pa.Schema, run_id: str, shard: int) -> pa.Table:
    bare = items.select([name for name in items.column_names if name != ORIGIN_NAME])
    fitted = pa.concat_tables([schema.empty_table(), bare], promote_options="permissive")
    origins = pa.StructArray.from_arrays(
        [
            pa.array([run_id] * items.num_rows, pa.string()),
            pa.array([shard] * items.num_rows, pa.int32()),
        ],
        names=["run_id", "shard"],
    )
    return fitted.cast(schema).append_column(ORIGIN_NAME, origins).combine_chunks()
