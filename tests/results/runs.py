"""Output folders with runs in them, written by the store that writes the real ones."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.core.records import Row

FIRST, SECOND = "20261101T000000Z-aaaa", "20261102T000000Z-bbbb"


class Outputs:
    """One output folder; a run is given as answers, or error codes, by item."""

    def __init__(self, root):
        self.root, self.shard_size, self.images = root, 99, "/images"
        self.store = ResultStore(OutputFolder(root))

    def run(self, run_id, answers, *, columns, prompt="caption", finished=False, **fields):
        self._begin(run_id, list(answers), prompt=prompt, finished=finished)
        for shard in range(len(self.store.shard_rows(run_id))):
            items = self.store.shard_items(run_id, shard)
            rows = [
                _row(
                    item_id,
                    answers[item_id],
                    image_uri=f"{self.images}/{item_id}",
                    run_id=run_id,
                    shard=shard,
                    prompt=prompt,
                    **fields,
                )
                for item_id in items["item_id"].to_pylist()
            ]
            self.store.write_shard(run_id, shard, rows, answer_columns=columns, items=items)

    def cut_off(self, run_id):
        """A run that was killed while it wrote its first shard."""
        self._begin(run_id, ["z"], prompt="caption", finished=False)
        draft = f"results/run_id={run_id}/shard-00000.parquet.draft"
        with OutputFolder(self.root).create(draft) as file:
            file.write(b"half")

    def _begin(self, run_id, item_ids, *, prompt, finished):
        batch = pa.record_batch(
            {"item_id": item_ids, "images": [[]] * len(item_ids), "_fingerprint": item_ids}
        )
        self.store.freeze(run_id, [batch], schema=batch.schema, shard_size=self.shard_size)
        document = {
            "run_id": run_id,
            "items": len(item_ids),
            "started_at": "2026-11-21T00:00:00Z",
            "finished_at": "2026-11-22T00:00:00Z" if finished else None,
            "config": {"model": {"name": "mistral-small-2603"}},
            "prompt": {"name": prompt, "version": "3"},
        }
        self.store.write_run(run_id, document)


def as_before(root, column, shards):
    """Make files of shards as a version wrote them that did not know a column yet."""
    for path in Path(root).glob("results/*/shard-*.parquet"):
        if int(path.stem[-5:]) in shards:
            table = pq.read_table(path, partitioning=None)
            pq.write_table(table.drop_columns(column), path)


def _row(item_id, outcome, **fields):
    answered = isinstance(outcome, dict)
    return Row(
        item_id=item_id,
        status="ok" if answered else "error",
        error_code=None if answered else outcome,
        answer=outcome if answered else None,
        provider="mistral",
        model="mistral-small-2603",
        prompt_version="3",
        question_sha256="q",
        **fields,
    )
