"""Parts noted in the output folder, on a disk and in a store, and files of requests."""

from dataclasses import replace

import pytest

from vision_pipeline.adapters.batch_input import InputFile
from vision_pipeline.adapters.batch_journal import BatchJournal
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.errors import OutputError, StorageError

PART = Part(1, 1, "r-0001.jsonl", 1, {"k": "a"})


@pytest.fixture(params=["disk", "store"])
def folder(request, tmp_path) -> OutputFolder:
    root = str(tmp_path) if request.param == "disk" else f"memory://{tmp_path.name}"
    return OutputFolder(root)


def test_parts_come_back_in_order_and_replaced(folder):
    journal = BatchJournal(folder)
    for number in (10, 2, 1):
        journal.write("r", replace(PART, number=number))
    journal.write("r", replace(PART, number=2, state="submitted"))
    assert [(part.number, part.state) for part in BatchJournal(folder).parts("r")] == [
        (1, "prepared"),
        (2, "submitted"),
        (10, "prepared"),
    ]
    assert journal.run_ids() == ["r"]


def test_a_dropped_part_is_gone_and_may_be_dropped_again(folder):
    journal = BatchJournal(folder)
    journal.write("r", PART)
    journal.drop("r", PART)
    journal.drop("r", PART)
    assert journal.parts("r") == []


def test_a_run_is_whole_once_that_is_noted(folder):
    journal = BatchJournal(folder)
    assert not journal.is_whole("r")
    journal.mark_whole("r", whole=True)
    assert journal.is_whole("r")
    assert journal.parts("r") == []
    journal.mark_whole("r", whole=False)
    assert not journal.is_whole("r")


def test_a_forgotten_run_leaves_nothing(folder):
    journal = BatchJournal(folder)
    journal.write("r", PART)
    journal.forget("r")
    journal.forget("r")
    assert journal.run_ids() == []


def test_a_damaged_part_is_named(tmp_path):
    journal = BatchJournal(OutputFolder(str(tmp_path)))
    journal.write("r", PART)
    file = tmp_path / "batches" / "r" / "part-0001.json"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(OutputError, match=r"part-0001\.json: cannot be read.*with the provider"):
        journal.parts("r")


def test_what_cannot_be_deleted_is_named(tmp_path):
    journal = BatchJournal(OutputFolder(str(tmp_path)))
    (tmp_path / "batches" / "r" / "part-0001.json" / "in-it").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"part-0001\.json: cannot be deleted"):
        journal.drop("r", PART)


def test_a_file_of_requests_has_its_lines_and_is_gone_when_closed():
    file = InputFile()
    file.add(b'{"a":1}\n')
    file.add(b'{"b":2}\n')
    file.flush()
    assert file.size_bytes == 16
    assert file.lines() == [b'{"a":1}\n', b'{"b":2}\n']
    path = file.path
    file.close()
    assert not path.parent.exists()


def test_a_full_disk_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not-there"))
    with pytest.raises(StorageError, match="a file of requests cannot be written"):
        InputFile()
