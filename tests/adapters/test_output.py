"""The output folder, on disk and in memory."""

import os
import tempfile
import uuid
from pathlib import Path

import fsspec
import pytest

from vision_pipeline.adapters.output import DRAFT_SUFFIX, OutputFolder
from vision_pipeline.core.errors import OutputError, StorageError


class CrashError(Exception):
    pass


@pytest.fixture(params=["disk", "file-url", "memory"])
def root(request, tmp_path):
    local = tmp_path / "out"
    remote = f"memory://{uuid.uuid4().hex}/out"
    return {"disk": str(local), "file-url": local.as_uri(), "memory": remote}[request.param]


@pytest.fixture
def folder(root):
    return OutputFolder(root)


def write(folder, name, content=b"content"):
    with folder.create(name) as file:
        file.write(content)


def crash_while_writing(folder, name):
    with folder.create(name) as file:
        file.write(b"half")
        raise CrashError


def test_a_file_is_there_when_its_block_has_ended(folder):
    with folder.create("results/run_id=1/a.bin") as file:
        file.write(b"con")
        assert not folder.exists("results/run_id=1/a.bin")
        file.write(b"tent")
    assert folder.exists("results/run_id=1/a.bin")
    assert folder.read_bytes("results/run_id=1/a.bin") == b"content"


def test_a_crash_in_the_middle_leaves_no_file(folder):
    with pytest.raises(CrashError):
        crash_while_writing(folder, "results/a.bin")
    assert not folder.exists("results/a.bin")
    assert folder.names("results") == []


def test_a_crash_in_the_middle_leaves_the_earlier_file(folder):
    write(folder, "a.bin", b"whole")
    with pytest.raises(CrashError):
        crash_while_writing(folder, "a.bin")
    assert folder.read_bytes("a.bin") == b"whole"


def test_a_file_may_be_replaced(folder):
    write(folder, "a.bin", b"first")
    write(folder, "a.bin", b"second")
    assert folder.read_bytes("a.bin") == b"second"


def test_a_large_file_arrives_whole(folder):
    large = bytes(range(256)) * 50_000
    write(folder, "a.bin", large)
    assert folder.read_bytes("a.bin") == large


def test_names_are_sorted_and_hold_no_drafts(folder):
    for name in ("b.bin", "a.bin", f"c.bin{DRAFT_SUFFIX}", "d/e.bin"):
        write(folder, f"results/{name}")
    assert folder.names("results") == ["a.bin", "b.bin", "d"]


def test_a_folder_that_is_not_there_has_no_names(folder):
    assert folder.names("nowhere") == []


def test_a_file_that_another_process_wrote_is_seen(folder):
    write(folder, "results/a.bin")
    assert folder.names("results") == ["a.bin"]
    folder.filesystem.pipe_file(folder.path("results/b.bin"), b"")
    assert folder.names("results") == ["a.bin", "b.bin"]


def test_a_folder_is_made_and_tried_without_a_trace(folder):
    folder.check_writable()
    folder.check_writable()
    assert folder.filesystem.isdir(folder.root)
    assert folder.filesystem.ls(folder.root) == []


def test_only_disks_are_local(tmp_path):
    assert OutputFolder(str(tmp_path)).is_local
    assert OutputFolder(tmp_path.as_uri()).is_local
    assert not OutputFolder("memory://somewhere").is_local


def test_a_folder_that_cannot_be_written_is_refused_with_the_cause(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/out cannot be written: Not a directory"):
        OutputFolder(str(tmp_path / "file" / "out")).check_writable()


def test_a_url_that_cannot_be_written_is_refused_with_the_cause():
    with fsspec.open("memory://taken", "wb"):
        pass
    with pytest.raises(OutputError, match="taken/out cannot be written"):
        OutputFolder("memory://taken/out").check_writable()


@pytest.mark.parametrize("url", ["nosuch://bucket/out", "dask://bucket/out"])
def test_a_protocol_that_is_not_known_or_not_installed_is_refused(url):
    with pytest.raises(OutputError, match=f"output.path: {url}: "):
        OutputFolder(url)


def test_a_disk_that_fails_in_mid_run_is_a_storage_error(tmp_path):
    folder = OutputFolder(str(tmp_path / "out"))
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError, match=r"out/a\.bin: cannot be written"):
        write(folder, "a.bin")


def test_a_full_disk_is_a_storage_error(tmp_path):
    folder = OutputFolder(str(tmp_path))
    (tmp_path / f".a.bin{DRAFT_SUFFIX}").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left on device"):
        write(folder, "a.bin")
    assert not folder.exists("a.bin")


def test_drafts_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    folder = OutputFolder(str(tmp_path))
    places = ["results/run_id=r1/shard-00000.parquet", "manifests/r1.parquet", "runs/r1.json"]
    for name in [*places, "mine/notes.txt"]:
        write(folder, name)
        path = tmp_path / name
        path.with_name(f".{path.name}{DRAFT_SUFFIX}").write_bytes(b"half")
    assert folder.sweep(now_s=0.0) == len(places)
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted([*places, "mine/notes.txt", "mine/.notes.txt.draft"])


def test_uploads_that_nobody_has_touched_for_a_day_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = OutputFolder("memory://swept")
    names = ["vision-pipeline-old", "vision-pipeline-young", "somebody-elses"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "r1.parquet").write_bytes(b"half")
    young = (tmp_path / "vision-pipeline-young" / "r1.parquet").stat().st_mtime + 90_000
    os.utime(tmp_path / "vision-pipeline-young" / "r1.parquet", (young, young))
    assert folder.sweep(now_s=young) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_a_draft_that_cannot_be_removed_is_left(tmp_path, monkeypatch):
    def refuse(_path):
        raise PermissionError

    (tmp_path / f".a{DRAFT_SUFFIX}").touch()
    monkeypatch.setattr(Path, "unlink", refuse)
    assert OutputFolder(str(tmp_path)).sweep(now_s=0.0) == 0
