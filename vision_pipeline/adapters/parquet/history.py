"""What the rows of all runs of an output folder say."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from vision_pipeline.adapters.parquet.earlier import EarlierItems
from vision_pipeline.adapters.parquet.manifest_cuts import read_shards
from vision_pipeline.adapters.parquet.outcomes import SETTLED_COLUMNS, Matches, Settlement
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.adapters.parquet.usage import USAGE_COLUMNS, UsageSums
from vision_pipeline.core.question import Question
from vision_pipeline.core.selection import Selection
from vision_pipeline.core.usage import Usage


class History:
    """Reads through the runs of a store, oldest first.

    Every method raises OutputError where a file is damaged.
    """

    def __init__(self, store: ResultStore) -> None:
        self._store = store

    def settled(self, question_sha256: str, *, abilities: str = "") -> pa.Table:
        """Items that need no work for this question unless they change.

        Args:
            question_sha256: The question.
            abilities: The decoders and limits of now; failures under others are tried again.

        Returns:
            A table of `_fingerprint` (string), `is_answer` (bool), `is_unread` (bool, failed for
            the bytes of an image) and `versions` (list of string, the `image_version` of each
            image): items whose latest row answers the same question, or failed at it for good.
        """
        settlement = Settlement(question_sha256, abilities)
        for run_id in self._store.listed_runs():
            its = str(self._store.read_run(run_id).get("abilities") or "")
            with self._store.manifest(run_id) as manifest:
                for shards, rows in self._store.run_parts(run_id, SETTLED_COLUMNS):
                    prints = read_shards(manifest, shards, columns=["_fingerprint"])
                    settlement.add(rows, prints["_fingerprint"], run_id=run_id, abilities=its)
        return settlement.table()

    def selected(self, selection: Selection) -> pa.StringArray:
        """Ids of the items whose latest answer, or with codes row, a selection is about.

        Raises:
            ConfigError: No run asked such a prompt, or such a model.
        """
        matches = Matches(selection)
        for run_id in self._store.run_ids():
            asked = self._asked(run_id)
            for _, rows in self._store.run_parts(run_id, matches.columns):
                matches.add(rows, run_id=run_id, model=asked)
        return matches.item_ids()

    def usage(self, question: Question) -> Usage:
        """What the replies took that earlier runs got to a question, or else to its prompt."""
        name, model = question.template.name, question.model
        sums = UsageSums(question.sha256, prompt=name, model=model)
        for run_id in self._store.run_ids():
            asked = self._asked(run_id)
            for _, rows in self._store.run_parts(run_id, USAGE_COLUMNS):
                sums.add(rows, asked=asked)
        return sums.usage()

    def earlier(self, questions: Collection[str], *, settled_in: Collection[str]) -> EarlierItems:
        """Each item by its latest row among those of some questions.

        Args:
            questions: Their `question_sha256`.
            settled_in: Runs whose rows are to stay as they are.
        """
        return EarlierItems(self._store, questions, settled_in)

    def _asked(self, run_id: str) -> str:
        """The model that a run asked, as its recipe has it."""
        return str(self._store.read_run(run_id).get("config", {}).get("model", {}).get("name", ""))
