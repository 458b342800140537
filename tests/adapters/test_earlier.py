"""Items of earlier runs by their latest rows, and these rows themselves."""

import pyarrow as pa
import pytest

from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.compaction import compact_run
from vision_pipeline.adapters.parquet.history import History
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.core.columns import Scalar
from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.records import Row

COLUMNS = (("caption", Scalar.STRING),)
SHARD = 2


class Folder:
    """An output folder; a run is given as questions, or error codes before a reply, by item."""

    def __init__(self, root):
        self.root = root
        self.store = ResultStore(OutputFolder(str(root)))

    def run(self, run_id, outcomes, **columns):
        batch = pa.record_batch(
            {
                "item_id": list(outcomes),
                "images": [[{"uri": item_id}] for item_id in outcomes],
                "_fingerprint": [f"{item_id} of {run_id}" for item_id in outcomes],
                **columns,
            }
        )
        store = self.store
        store.freeze(run_id, [batch], schema=batch.schema, shard_size=SHARD)
        for shard in range(len(store.shard_rows(run_id))):
            items = store.shard_items(run_id, shard)
            rows = [
                row(item_id, outcomes[item_id], run_id, shard)
                for item_id in items["item_id"].to_pylist()
            ]
            store.write_shard(run_id, shard, rows, answer_columns=COLUMNS, items=items)
        store.write_run(run_id, {"run_id": run_id})

    def earlier(self, *questions, settled_in=()):
        return History(self.store).earlier(questions, settled_in=settled_in)

    def listed(self, *questions, settled_in=()):
        """Fingerprints of the listed items, and where their rows are."""
        batches = self.earlier(*questions, settled_in=settled_in).batches()
        records = [record for batch in batches for record in batch.to_pylist()]
        return {
            each["_fingerprint"]: (each["_origin"]["run_id"], each["_origin"]["shard"])
            for each in records
        }


def row(item_id, outcome, run_id, shard):
    question, _, code = outcome.partition(" ")
    return Row(
        item_id=item_id,
        image_uri=item_id,
        status="error" if code else "ok",
        error_code=code or None,
        prompt_tokens=None if code else 9,
        reply_text=None if code else f"{item_id} of {run_id}",
        provider="mistral",
        model="m",
        prompt="p",
        prompt_version="1",
        question_sha256=question,
        run_id=run_id,
        shard=shard,
    )


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "out")


def counts(earlier):
    return (
        earlier.replied,
        earlier.unreplied,
        earlier.answered,
        earlier.failed,
        earlier.others,
    )


def test_without_runs_there_is_nothing(folder):
    assert counts(folder.earlier("q")) == (0, 0, 0, 0, 0)
    assert folder.listed("q") == {}


def test_items_come_with_the_place_of_their_rows(folder):
    folder.run("r1", {"a": "q", "b": "q", "c": "q timeout", "d": "x"})
    assert counts(folder.earlier("q")) == (2, 1, 0, 0, 1)
    assert folder.listed("q") == {
        "a of r1": ("r1", 0),
        "b of r1": ("r1", 0),
        "c of r1": ("r1", 1),
    }


def test_the_latest_row_of_these_questions_counts(folder):
    folder.run("r1", {"a": "q", "b": "q", "c": "q"})
    folder.run("r2", {"b": "k", "c": "k timeout"})
    folder.run("r3", {"a": "x", "b": "x"})
    assert counts(folder.earlier("q", "k")) == (2, 1, 0, 0, 0)
    assert folder.listed("q", "k") == {
        "a of r1": ("r1", 0),
        "b of r2": ("r2", 0),
        "c of r2": ("r2", 0),
    }


def test_what_is_settled_is_counted_and_not_listed(folder):
    folder.run("r1", {"a": "q", "b": "q", "c": "q"})
    folder.run("r2", {"a": "k", "b": "k invalid_answer"})
    assert counts(folder.earlier("q", "k", settled_in=["r2"])) == (1, 0, 1, 1, 0)
    assert list(folder.listed("q", "k", settled_in=["r2"])) == ["c of r1"]


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        (["a b", "a#page=1 a#page=2"], ["b of r1", "a#page=1 of r2", "a#page=2 of r2"]),
        (["a#page=1 b", "a"], ["b of r1", "a of r2"]),
        (["a a#page=1", "a"], ["a#page=1 of r1", "a of r2"]),
        (["a#page=1", "b"], ["a#page=1 of r1", "b of r2"]),
    ],
)
def test_a_document_is_listed_once_however_it_was_divided(folder, runs, wanted):
    for number, ids in enumerate(runs, 1):
        folder.run(f"r{number}", dict.fromkeys(ids.split(), "q"))
    assert sorted(folder.listed("q")) == sorted(wanted)
    assert counts(folder.earlier("q")) == (len(wanted), 0, 0, 0, 0)


def test_a_compacted_run_gives_the_same_items_and_rows(folder):
    folder.run("r1", dict.fromkeys("abcdefg", "q"))
    before = folder.listed("q")
    assert compact_run(folder.root, "r1", target_bytes=10**9).files_after == 1
    assert folder.listed("q") == before
    rows = folder.store.rows_of("r1", [1, 3])
    assert rows["reply_text"].to_pylist() == ["c of r1", "d of r1", "g of r1"]


def test_rows_have_the_pipelines_own_columns_alone(folder):
    folder.run("r1", {"a": "q", "b": "q", "c": "q"}, shop=["x", "y", "z"])
    rows = folder.store.rows_of("r1", [0])
    assert [Row(**record).item_id for record in rows.to_pylist()] == ["a", "b"]


def test_rows_of_a_shard_that_is_gone_are_named(folder):
    folder.run("r1", {"a": "q", "b": "q", "c": "q"})
    with pytest.raises(OutputError, match="run_id=r1: shard 7 is gone"):
        folder.store.rows_of("r1", [1, 7])
    with pytest.raises(OutputError, match="run_id=r0: shard 0 is gone"):
        folder.store.rows_of("r0", [0])


def test_a_damaged_result_file_is_named(folder):
    folder.run("r1", {"a": "q"})
    (folder.root / "results" / "run_id=r1" / "shard-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(OutputError, match=r"shard-00000\.parquet: cannot be read"):
        folder.store.rows_of("r1", [0])


def test_manifests_of_several_runs_become_one(folder):
    folder.run("r1", {"a": "q"}, n=[1])
    folder.run("r2", {"b": "q"}, n=[2.5], shop=["x"])
    batches = list(folder.earlier("q").batches())
    assert len({batch.schema for batch in batches}) == 1
    records = [record for batch in batches for record in batch.to_pylist()]
    assert [(each["n"], each["shop"]) for each in records] == [(1.0, None), (2.5, "x")]


def test_an_item_of_a_reparse_is_listed_with_its_place_there(folder):
    folder.run("r1", {"a": "q"})
    folder.run("r2", {"a": "q"}, _origin=[{"run_id": "r1", "shard": 0}])
    assert folder.listed("q") == {"a of r2": ("r2", 0)}
    folder.run("r3", {"b": "q"})
    assert len({batch.schema for batch in folder.earlier("q").batches()}) == 1


def test_manifests_whose_types_do_not_fit_together_are_refused(folder):
    folder.run("r1", {"a": "q"}, n=[1])
    folder.run("r2", {"b": "q"}, n=["one"])
    with pytest.raises(OutputError, match="runs r1, r2 do not fit together"):
        list(folder.earlier("q").batches())
    folder.run("r3", {"a": "q"}, n=["two"])  # nothing of r1 is listed any more
    assert list(folder.listed("q")) == ["b of r2", "a of r3"]
