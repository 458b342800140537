"""Compaction: the same rows in fewer files, for every reader, whenever it is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.results.runs import FIRST, SECOND, Outputs, as_before
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet import compaction
from vision_pipeline.adapters.parquet.compaction import STAGING_NAME, compact_run
from vision_pipeline.adapters.parquet.exchange import exchange
from vision_pipeline.adapters.parquet.history import History
from vision_pipeline.adapters.parquet.shard_files import merged_name, shard_files, shard_name
from vision_pipeline.core.columns import Scalar
from vision_pipeline.core.errors import ErrorCode, OutputError, StorageError
from vision_pipeline.core.selection import Selection
from vision_pipeline.results import load
from vision_pipeline.results.status import read_status
from vision_pipeline.results.table import Folder, open_folder, read_rows

CAPTION = (("caption", Scalar.STRING), ("kind", Scalar.CHOICE))
NAMES = [f"{number:02}" for number in range(10)]
LARGE = 10**9


@pytest.fixture
def outputs(tmp_path):
    """Ten shards of one item each, with labels that differ from shard to shard; 03 has failed."""
    outputs = Outputs(str(tmp_path / "out"))
    outputs.shard_size = 1
    answers = {name: {"caption": f"c{name}", "kind": f"k{name}"} for name in NAMES}
    outputs.run(FIRST, answers | {"03": "timeout"}, columns=CAPTION, finished=True)
    return outputs


@pytest.fixture
def root(outputs):
    return Path(outputs.root)


def files(root, run_id=FIRST):
    return sorted(path.name for path in (root / "results" / f"run_id={run_id}").iterdir())


def everything(root):
    return load(str(root), runs="all").sort_values(["run_id", "item_id"]).reset_index(drop=True)


# --- names


def test_names_say_which_shards_a_file_holds():
    names = [merged_name(3, 12), shard_name(2), ".shard-00001.parquet.draft", "notes.txt"]
    found = shard_files(names)
    assert [(file.first, file.last) for file in found] == [(2, 2), (3, 12)]
    assert list(found[1].shards) == list(range(3, 13))
    assert merged_name(2, 2) != shard_name(2)


# --- what it does


def test_many_files_become_one_with_the_same_rows(root):
    before = everything(root)
    done = compact_run(root, FIRST, target_bytes=LARGE)
    assert (done.files_before, done.files_after) == (10, 1)
    assert files(root) == ["shards-00000-00009.parquet"]
    pd.testing.assert_frame_equal(everything(root), before)
    assert not (root / STAGING_NAME).exists()


def test_what_counts_as_done_settled_and_failed_stays(root, outputs):
    store = outputs.store
    before = History(store).settled("q")["_fingerprint"].to_pylist()
    compact_run(root, FIRST, target_bytes=LARGE)
    assert store.finished_shards(FIRST) == set(range(10))
    assert History(store).settled("q")["_fingerprint"].to_pylist() == before
    assert len(before) == 9
    assert History(store).selected(Selection(codes=(ErrorCode.TIMEOUT,))).to_pylist() == ["03"]
    assert read_status(outputs.root).errors == {"timeout": 1}


def test_other_readers_see_the_same_table(root):
    pattern = root / "results" / "**" / "*.parquet"
    query = f"SELECT item_id, caption, kind, run_id FROM '{pattern}' ORDER BY item_id"  # noqa: S608
    with duckdb.connect() as database:
        before = database.sql(query).fetchall()
        compact_run(root, FIRST, target_bytes=LARGE)
        assert database.sql(query).fetchall() == before
    assert len(pd.read_parquet(root / "results")) == 10


def test_files_are_closed_once_they_are_large_enough(root):
    size = (root / "results" / f"run_id={FIRST}" / shard_name(0)).stat().st_size
    done = compact_run(root, FIRST, target_bytes=3 * size)
    assert done.files_after == 4
    assert files(root)[:2] == ["shard-00009.parquet", "shards-00000-00002.parquet"]
    assert len(everything(root)) == 10


def test_a_second_compaction_finds_nothing_to_do(root):
    compact_run(root, FIRST, target_bytes=LARGE)
    inode = (root / "results" / f"run_id={FIRST}").stat().st_ino
    done = compact_run(root, FIRST, target_bytes=LARGE)
    assert (done.files_before, done.files_after) == (1, 1)
    assert (root / "results" / f"run_id={FIRST}").stat().st_ino == inode


def test_files_that_are_large_already_stay_as_they_are(root):
    folder = root / "results" / f"run_id={FIRST}"
    size = (folder / shard_name(0)).stat().st_size
    compact_run(root, FIRST, target_bytes=5 * size)
    large = files(root)
    compact_run(root, FIRST, target_bytes=size // 2)
    assert files(root) == large


def test_a_shard_that_was_removed_stays_to_be_done(root, outputs):
    (root / "results" / f"run_id={FIRST}" / shard_name(4)).unlink()
    compact_run(root, FIRST, target_bytes=LARGE)
    assert files(root) == ["shards-00000-00003.parquet", "shards-00005-00009.parquet"]
    assert outputs.store.finished_shards(FIRST) == set(range(10)) - {4}
    assert "04" not in History(outputs.store).settled("q")["_fingerprint"].to_pylist()


def test_files_of_somebody_else_are_kept(root):
    (root / "results" / f"run_id={FIRST}" / "notes.txt").write_text("mine")
    compact_run(root, FIRST, target_bytes=LARGE)
    assert files(root) == ["notes.txt", "shards-00000-00009.parquet"]


def test_a_folder_among_the_files_is_refused(root):
    (root / "results" / f"run_id={FIRST}" / "mine").mkdir()
    with pytest.raises(OutputError, match="mine: is no file of a run"):
        compact_run(root, FIRST, target_bytes=LARGE)
    assert len(files(root)) == 11


def test_large_rows_are_written_in_several_groups(root, monkeypatch):
    before = everything(root)
    monkeypatch.setattr(compaction, "ROW_GROUP_BYTES", 1)
    compact_run(root, FIRST, target_bytes=LARGE)
    pd.testing.assert_frame_equal(everything(root), before)


# --- what may go wrong


def test_a_damaged_file_stops_it_and_changes_nothing(root):
    (root / "results" / f"run_id={FIRST}" / shard_name(4)).write_bytes(b"PAR1 and then nothing")
    with pytest.raises(OutputError, match="nothing has changed"):
        compact_run(root, FIRST, target_bytes=LARGE)
    assert len(files(root)) == 10
    assert not (root / STAGING_NAME).exists()


def test_a_file_that_lost_rows_is_not_put_in_place(root, monkeypatch):
    monkeypatch.setattr(compaction, "_row_groups", lambda *_: iter(()))
    with pytest.raises(OutputError, match="0 rows of 10; nothing has changed"):
        compact_run(root, FIRST, target_bytes=LARGE)
    assert len(everything(root)) == 10


def refuse(_one, _other):
    raise OSError(22, "Invalid argument")


def test_a_file_system_that_cannot_exchange_folders_is_named(root, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.parquet.exchange.exchange", refuse)
    with pytest.raises(OutputError, match="cannot exchange two folders in one step"):
        compact_run(root, FIRST, target_bytes=LARGE)


def test_a_disk_that_fails_changes_nothing(root, monkeypatch):
    monkeypatch.setattr(compaction, "exchange", refuse)
    with pytest.raises(StorageError, match="Invalid argument; nothing has changed"):
        compact_run(root, FIRST, target_bytes=LARGE)
    assert len(everything(root)) == 10


def test_an_exchange_that_fails_says_why(tmp_path):
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "b")


def test_a_system_without_exchange_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.parquet.exchange._system_call", lambda: None)
    with pytest.raises(OSError, match="cannot exchange two folders"):
        exchange(tmp_path, tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from vision_pipeline.adapters.parquet import compaction
when, root, run_id = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
original = getattr(compaction, when.removeprefix("after "))
def then(*arguments):
    original(*arguments)
    die()
setattr(compaction, when.removeprefix("after "), then if when.startswith("after ") else die)
compaction.compact_run(Path(root), run_id, target_bytes=10**9)
"""


@pytest.mark.parametrize("when", ["_merge", "after _merge", "exchange", "after exchange"])
def test_a_killed_compaction_leaves_all_old_files_or_all_new_ones(root, when):
    before = everything(root)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, when, str(root), FIRST], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(files(root)) == (1 if when == "after exchange" else 10)
    pd.testing.assert_frame_equal(everything(root), before)
    assert (root / STAGING_NAME).exists()
    OutputFolder(str(root)).sweep(now_s=0.0)
    assert not (root / STAGING_NAME).exists()
    compact_run(root, FIRST, target_bytes=LARGE)
    pd.testing.assert_frame_equal(everything(root), before)


# --- readers in the middle of it


@pytest.fixture
def compacted_after_listing(root, monkeypatch):
    """The first listing of a run's files is out of date as soon as it is made."""

    def spoil(kind):
        names = kind.names

        def stale(self, folder):
            found = names(self, folder)
            if folder.endswith(FIRST):
                compact_run(root, FIRST, target_bytes=LARGE)
            return found

        monkeypatch.setattr(kind, "names", stale)

    return spoil


def test_a_reader_whose_files_were_replaced_lists_them_again(outputs, compacted_after_listing):
    folder = open_folder(outputs.root)
    compacted_after_listing(Folder)
    assert read_rows(folder)["item_id"].to_pylist() == NAMES


def test_a_plan_whose_files_were_replaced_lists_them_again(outputs, compacted_after_listing):
    wanted = [name for name in NAMES if name != "03"]
    compacted_after_listing(OutputFolder)
    assert History(outputs.store).settled("q")["_fingerprint"].to_pylist() == wanted


def test_a_plan_that_has_read_half_of_the_old_files_reads_the_rest_of_the_new_ones(root, outputs):
    parts = outputs.store.run_parts(FIRST, ["item_id"])
    seen = [next(parts) for _ in range(4)]
    compact_run(root, FIRST, target_bytes=LARGE)
    seen += parts
    assert [shard for shards, _ in seen for shard in shards] == list(range(10))
    assert [name for _, rows in seen for name in rows["item_id"].to_pylist()] == NAMES


def test_a_file_that_is_gone_for_good_is_named(root, outputs, monkeypatch):
    names = OutputFolder.names
    ghost = "shard-00099.parquet"
    monkeypatch.setattr(OutputFolder, "names", lambda self, folder: [*names(self, folder), ghost])
    with pytest.raises(OutputError, match=f"{ghost}: cannot be read"):
        History(outputs.store).selected(Selection(codes=(ErrorCode.TIMEOUT,)))


def test_a_run_that_an_earlier_version_began_is_merged_with_what_it_lacks(root, outputs):
    as_before(outputs.root, "mode", [0, 1, 5])
    before = everything(root)
    assert compact_run(root, FIRST, target_bytes=LARGE).files_after == 1
    after = everything(root)
    pd.testing.assert_frame_equal(after[before.columns], before)
    columns = pq.read_schema(root / "results" / f"run_id={FIRST}" / merged_name(0, 9)).names
    assert "mode" in columns


def test_other_runs_are_not_touched(root, outputs):
    outputs.run(SECOND, {"a": {"caption": "c", "kind": "k"}}, columns=CAPTION)
    compact_run(root, FIRST, target_bytes=LARGE)
    assert files(root, SECOND) == [shard_name(0)]
    assert len(everything(root)) == 11
