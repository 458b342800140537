"""Reading members out of zip archives: methods, damage, and how many stay open."""

import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.adapters.archiving import (
    FILES,
    archive_at,
    code_of,
    png,
    read,
    refs_of,
    zip_bytes,
)
from vision_pipeline.adapters.images import ZipReader
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.records import ImageRef
from vision_pipeline.core.zip import read_member


@pytest.fixture
def readers():
    reader = ZipReader()
    yield {"zip": reader}
    reader.close()


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_method_of_compression_is_read(tmp_path, readers, method):
    path = tmp_path / "x.zip"
    path.write_bytes(zip_bytes(FILES, method))
    assert [read(readers, ref) for ref in refs_of(path)] == list(FILES.values())


def test_a_member_that_inflates_without_end_is_not_read_to_it(tmp_path, readers):
    path = archive_at(tmp_path, "zip", {"bomb.png": bytes(10_000_000)})
    [ref] = refs_of(path)
    assert read(readers, ref, max_bytes=1000) == bytes(1001)


def test_an_encrypted_member_is_unreadable_and_says_so(tmp_path, readers):
    path = tmp_path / "x.zip"
    data = bytearray(zip_bytes({"a.png": png()}))
    data[6] |= 1  # in the header of the member
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(data)
    [ref] = refs_of(path)
    assert code_of(readers, ref) == ErrorCode.UNREADABLE_IMAGE
    with pytest.raises(ItemError, match="encrypted"):
        read(readers, ref)


def test_a_damaged_member_is_unreadable_and_the_others_are_not(tmp_path, readers):
    path = tmp_path / "x.zip"
    data = bytearray(zip_bytes({"a.png": png(1), "b.png": png(2)}, zipfile.ZIP_STORED))
    data[45] ^= 0xFF
    path.write_bytes(data)
    first, second = refs_of(path)
    assert code_of(readers, first) == ErrorCode.UNREADABLE_IMAGE
    assert read(readers, second) == png(2)


@pytest.mark.parametrize("stated_bytes", [3, 10**6])
def test_a_size_in_the_directory_that_is_wrong_is_unreadable(tmp_path, readers, stated_bytes):
    path = tmp_path / "x.zip"
    data = bytearray(zip_bytes({"a.png": png()}))
    start = data.index(b"PK\x01\x02") + 24
    data[start : start + 4] = stated_bytes.to_bytes(4, "little")
    path.write_bytes(data)
    [ref] = refs_of(path)
    assert ref.size_bytes == stated_bytes
    assert code_of(readers, ref) == ErrorCode.UNREADABLE_IMAGE


def test_a_method_of_compression_that_is_unknown_is_unreadable(tmp_path, readers):
    path = tmp_path / "x.zip"
    data = bytearray(zip_bytes({"a.png": png()}))
    data[data.index(b"PK\x01\x02") + 10] = 99
    path.write_bytes(data)
    [ref] = refs_of(path)
    assert code_of(readers, ref) == ErrorCode.UNREADABLE_IMAGE


class CountingFiles:
    """Opens archives and remembers the files, as `open_container`."""

    def __init__(self):
        self.files = []

    def __call__(self, location):
        self.files.append(open(location, "rb"))  # noqa: PTH123, SIM115
        return self.files[-1]

    def still_open(self):
        return [os.path.basename(file.name) for file in self.files if not file.closed]  # noqa: PTH119


@pytest.fixture
def files(monkeypatch):
    counting = CountingFiles()
    monkeypatch.setattr("vision_pipeline.adapters.images.zip.open_container", counting)
    return counting


def test_a_few_archives_stay_open_and_the_oldest_makes_room(tmp_path, files):
    reader = ZipReader(most_open=2)
    refs = {}
    for name in ("1", "2", "3"):
        path = tmp_path / f"{name}.zip"
        path.write_bytes(zip_bytes({"a.png": name.encode()}))
        refs[name] = ImageRef(f"zip://a.png::{path}")
    for name in ("1", "2", "1", "3", "1"):
        assert read({"zip": reader}, refs[name]) == name.encode()
    assert files.still_open() == ["1.zip", "3.zip"]
    assert len(files.files) == 3
    reader.close()
    assert files.still_open() == []
    assert read({"zip": reader}, refs["1"]) == b"1"
    reader.close()


def test_an_archive_that_changed_or_is_none_is_closed(tmp_path, files):
    reader = ZipReader()
    path = archive_at(tmp_path, "zip", {"a.png": b"1"})
    ref = ImageRef(f"zip://a.png::{path}")
    assert read({"zip": reader}, ref) == b"1"
    path.write_bytes(zip_bytes({"a.png": b"changed"}))
    assert read({"zip": reader}, ref) == b"changed"
    assert len(files.still_open()) == 1
    path.write_bytes(b"x" * 100)
    assert code_of({"zip": reader}, ref) == ErrorCode.UNREADABLE_IMAGE
    assert files.still_open() == []


def test_an_archive_that_makes_room_while_it_is_read_is_closed_when_that_is_done(
    tmp_path, files, monkeypatch
):
    reader = ZipReader(most_open=1)
    refs = []
    for each in ("1", "2"):
        (tmp_path / f"{each}.zip").write_bytes(zip_bytes({"a.png": each.encode()}))
        refs.append(ImageRef(f"zip://a.png::{tmp_path}/{each}.zip"))
    is_reading, may_go_on = threading.Event(), threading.Event()
    name = "vision_pipeline.adapters.images.zip.read_member"

    def slow(opened, member, *, most):
        is_reading.set()
        assert may_go_on.wait(10)
        return read_member(opened, member, most=most)

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(name, slow)
        first = pool.submit(read, {"zip": reader}, refs[0])
        assert is_reading.wait(10)
        monkeypatch.setattr(name, read_member)
        assert read({"zip": reader}, refs[1]) == b"2"
        assert files.still_open() == ["1.zip", "2.zip"]
        may_go_on.set()
        assert first.result(10) == b"1"
    assert files.still_open() == ["2.zip"]
    reader.close()
