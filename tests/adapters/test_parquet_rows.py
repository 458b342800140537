"""Reading images out of Parquet rows, in whatever order they are asked for."""

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from PIL import Image

from vision_pipeline.adapters.images import ParquetReader, parquet_file, parquet_rows, passed_rows
from vision_pipeline.adapters.images.passed_rows import PassedRows
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.members import Member
from vision_pipeline.core.records import ImageRef

HUB_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(shade):
    file = BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


def written(path, images, kind=None, **options):
    pa_parquet.write_table(pa.table({"image": pa.array(images, kind)}), path, **options)
    return path


UNREADABLE = ErrorCode.UNREADABLE_IMAGE


def read(reader, path, row, *, column="image", version="", max_bytes=10**9):  # noqa: PLR0913
    member = Member("parquet", f"{column}/{row}", str(path))
    return reader.read(member, ImageRef(member.uri, version=version), max_bytes=max_bytes)


def complaint_of(reader, path, row, code=ErrorCode.SOURCE_MISSING, **options):
    with pytest.raises(ItemError) as caught:
        read(reader, path, row, **options)
    assert caught.value.code is code
    return caught.value.detail


@pytest.fixture
def reader():
    reader = ParquetReader()
    yield reader
    reader.close()


@pytest.fixture
def decoded(monkeypatch):
    """How often each row was decoded."""
    counts = Counter()
    original = parquet_file.Cursor.decoded

    def counting(self):
        rows = list(original(self))
        counts.update(row for row, _ in rows)
        return iter(rows)

    monkeypatch.setattr(parquet_file.Cursor, "decoded", counting)
    return counts


# --- order


@pytest.mark.parametrize("row_group_size", [7, 100])
def test_every_row_is_read_once_whatever_the_order_and_decoded_once(
    tmp_path, reader, decoded, row_group_size
):
    images = [b"%03d" % row * 1000 for row in range(100)]
    path = written(tmp_path / "m.parquet", images, row_group_size=row_group_size)
    order = random.Random(1).sample(range(100), 100)
    assert [read(reader, path, row) for row in order] == [images[row] for row in order]
    assert set(decoded.values()) == {1}


def test_rows_asked_by_many_threads_at_once_are_each_given_to_who_asked(tmp_path, reader):
    images = [b"%03d" % row * 1000 for row in range(500)]
    path = written(tmp_path / "m.parquet", images, row_group_size=200)
    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(lambda row: read(reader, path, row), range(500))) == images


def test_a_row_may_be_read_again(tmp_path, reader):
    path = written(tmp_path / "m.parquet", [png(0), png(1), png(2)])
    assert [read(reader, path, row) for row in (1, 1, 0, 2, 0)] == [
        png(1),
        png(1),
        png(0),
        png(2),
        png(0),
    ]


def test_rows_that_were_forgotten_are_decoded_again(tmp_path, monkeypatch):
    images = [b"%03d" % row * 1000 for row in range(20)]
    path = written(tmp_path / "m.parquet", images)
    reader = ParquetReader(passed=PassedRows(memory_bytes=5000, max_segments=0))
    order = [19, *range(19)]
    assert [read(reader, path, row) for row in order] == [images[row] for row in order]
    reader.close()


def test_rows_far_before_the_first_that_is_asked_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "_KEPT_BEFORE_ROWS", 2)
    passed = PassedRows()
    reader = ParquetReader(passed=passed)
    path = written(tmp_path / "m.parquet", [png(shade) for shade in range(10)])
    assert read(reader, path, 8) == png(8)
    assert read(reader, path, 6) == png(6)  # kept
    assert read(reader, path, 1) == png(1)  # again from the beginning
    assert read(reader, path, 9) == png(9)
    reader.close()


def test_a_cursor_that_gives_way_is_led_to_its_end(tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(parquet_rows, "_MAX_CURSORS", 2)
    reader = ParquetReader()
    path = written(tmp_path / "m.parquet", [png(s) for s in range(30)], row_group_size=5)
    order = [group * 5 + row for row in range(5) for group in range(6)]
    assert [read(reader, path, row) for row in order] == [png(row) for row in order]
    assert set(decoded.values()) == {1}
    reader.close()


def test_cursors_whose_pages_are_large_give_way_too(tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(parquet_rows, "_CURSOR_BYTES", 1000)
    reader = ParquetReader()
    path = written(tmp_path / "m.parquet", [os.urandom(500) for _ in range(8)], row_group_size=4)
    for row in (0, 4, 1, 5):
        read(reader, path, row)
    assert set(decoded) == set(range(6))
    assert set(decoded.values()) == {1}
    reader.close()


def test_files_beyond_those_kept_open_are_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "_MAX_COLUMNS", 2)
    reader = ParquetReader()
    paths = [written(tmp_path / f"{n}.parquet", [png(n), png(n + 10)]) for n in range(4)]
    for row in (0, 1):
        for n, path in enumerate(paths):
            assert read(reader, path, row) == png(n + 10 * row)
    reader.close()


def test_a_closed_reader_opens_its_files_again(tmp_path, reader):
    path = written(tmp_path / "m.parquet", [png(0), png(1)])
    read(reader, path, 0)
    reader.close()
    assert read(reader, path, 1) == png(1)


# --- values


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "none", "use_dictionary": False},
        {"compression": "zstd", "data_page_version": "2.0"},
        {"use_dictionary": False, "column_encoding": {"image": "DELTA_LENGTH_BYTE_ARRAY"}},
    ],
)
def test_files_are_read_however_they_are_encoded(tmp_path, reader, options):
    images = [png(shade) for shade in range(50)]
    path = written(tmp_path / "m.parquet", images, **options)
    assert [read(reader, path, row) for row in range(50)] == images


def test_a_large_value_is_cut_one_byte_behind_the_limit(tmp_path, reader):
    path = written(tmp_path / "m.parquet", [b"12345", b"1234"])
    assert read(reader, path, 0, max_bytes=3) == b"1234"
    assert read(reader, path, 1, max_bytes=3) == b"1234"
    assert read(reader, path, 1, max_bytes=9) == b"1234"


def test_an_empty_value_is_a_value(tmp_path, reader):
    assert read(reader, written(tmp_path / "m.parquet", [b""]), 0) == b""


def test_a_row_without_bytes_is_missing_and_names_the_path_beside_them(tmp_path, reader):
    rows = [{"bytes": None, "path": "é.png"}, None, {"bytes": None, "path": None}]
    path = written(tmp_path / "m.parquet", rows, HUB_TYPE)
    assert "row 0 has no bytes, only the path 'é.png'" in complaint_of(reader, path, 0)
    assert complaint_of(reader, path, 1) == "row 1 has no bytes"
    assert complaint_of(reader, path, 2) == "row 2 has no bytes"


def test_a_null_among_bytes_is_missing(tmp_path, reader):
    path = written(tmp_path / "m.parquet", [png(0), None])
    assert complaint_of(reader, path, 1) == "row 1 has no bytes"
    alone = pa.struct([("bytes", pa.binary())])
    path = written(tmp_path / "n.parquet", [{"bytes": None}], alone)
    assert complaint_of(reader, path, 0) == "row 0 has no bytes"


# --- what is not there


def test_rows_and_columns_that_are_not_there_are_named(tmp_path, reader):
    path = written(tmp_path / "m.parquet", [png(0)])
    assert "no row 1: the file has 1 rows" in complaint_of(reader, path, 1)
    assert "'other'" in complaint_of(reader, path, 0, column="other")
    assert "'image/x'" in complaint_of(reader, path, "x")
    path = written(tmp_path / "n.parquet", [{"path": "a"}])
    assert "no bytes" in complaint_of(reader, path, 0)


def test_what_is_no_file_is_missing(tmp_path, reader):
    assert "No such file" in complaint_of(reader, tmp_path / "none.parquet", 0)
    assert complaint_of(reader, f"{tmp_path}/nul\0", 0)
    assert complaint_of(reader, tmp_path, 0) == "not a regular file"
    assert complaint_of(reader, "memory://none/m.parquet", 0)
    (tmp_path / "m.parquet").write_bytes(b"no parquet")
    assert "cannot be read" in complaint_of(reader, tmp_path / "m.parquet", 0, UNREADABLE)


def test_rows_that_could_not_be_listed_say_why(tmp_path, reader):
    path = written(tmp_path / "m.parquet", [png(0)])
    place = "(damaged from row 7 on)"
    assert place in complaint_of(reader, path, place, UNREADABLE)
    assert place in complaint_of(reader, path, place, UNREADABLE, column="other")
    path.write_bytes(b"no parquet")
    os.utime(path, (1, 1))
    assert "ArrowInvalid" in complaint_of(reader, path, place, UNREADABLE, version=str(10**9))


def test_a_file_of_another_time_than_the_listed_one_is_refused(tmp_path, reader, monkeypatch):
    path = written(tmp_path / "m.parquet", [png(0), png(1), png(2)])
    version = str(path.stat().st_mtime_ns)
    assert read(reader, path, 0, version=version) == png(0)
    os.utime(path, ns=(0, 0))
    assert "changed" in complaint_of(reader, path, 1, version=version)
    assert read(reader, path, 1, version="0") == png(1)
    path.unlink()
    assert "No such file" in complaint_of(reader, path, 2, version="0")


def damaged(path):
    """Two row groups of three rows of 1,000 bytes each; the second row's bytes are no more."""
    images = [bytes([65 + row]) * 5 + os.urandom(995) for row in range(6)]
    written(path, images, row_group_size=3, use_dictionary=False, compression="none")
    data = bytearray(path.read_bytes())
    place = data.index(images[1][5:105])
    data[place - 9 : place - 5] = b"\xff" * 4  # the length that stands before a value
    path.write_bytes(data)
    return images


def test_damage_costs_the_rows_behind_it_in_its_group_and_no_others(tmp_path, decoded, monkeypatch):
    images = damaged(tmp_path / "m.parquet")
    reader = ParquetReader()
    path = tmp_path / "m.parquet"
    assert "cannot be read" in complaint_of(reader, path, 2, UNREADABLE)
    assert "cannot be read" in complaint_of(reader, path, 1, UNREADABLE)
    assert [read(reader, path, row) for row in (3, 4, 5)] == images[3:]
    assert max(decoded.values()) == 1
    reader.close()


def test_damage_found_while_making_room_does_not_harm_the_one_who_asks(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "_MAX_CURSORS", 1)
    images = damaged(tmp_path / "m.parquet")
    reader = ParquetReader()
    path = tmp_path / "m.parquet"
    assert read(reader, path, 0) == images[0]
    assert read(reader, path, 3) == images[3]
    assert "cannot be read" in complaint_of(reader, path, 1, UNREADABLE)
    reader.close()


# --- pages that are too large


def test_rows_in_and_behind_a_page_that_is_too_large_are_refused_and_those_before_are_read(
    tmp_path, decoded
):
    images = [bytes([row % 256]) * 1500 for row in range(2000)] + [bytes(5 * 10**6)]
    path = written(tmp_path / "m.parquet", images, use_dictionary=False, compression="zstd")
    assert path.stat().st_size < 50_000
    reader = ParquetReader(max_page_bytes=2_000_000)
    for row in (2000, 1024, 1999):
        with pytest.raises(ItemError, match=r"max_decode_bytes.*row_group_size=100") as caught:
            read(reader, path, row)
        assert caught.value.code is ErrorCode.IMAGE_TOO_LARGE
    assert not decoded
    assert [read(reader, path, row) for row in (1023, 0, 512)] == [
        images[1023],
        images[0],
        images[512],
    ]
    assert max(decoded) == 1023
    reader.close()


def test_a_page_of_paths_beside_the_bytes_may_be_too_large_as_well(tmp_path):
    rows = [{"bytes": png(0), "path": "a" * 10**6}]
    path = written(tmp_path / "m.parquet", rows, HUB_TYPE, use_dictionary=False)
    reader = ParquetReader(max_page_bytes=500_000)
    with pytest.raises(ItemError) as caught:
        read(reader, path, 0)
    assert caught.value.code is ErrorCode.IMAGE_TOO_LARGE
    reader.close()


def test_other_row_groups_than_that_of_a_large_page_are_read(tmp_path):
    images = [png(0), bytes(10**6), png(1)]
    path = written(tmp_path / "m.parquet", images, row_group_size=1, use_dictionary=False)
    reader = ParquetReader(max_page_bytes=500_000)
    assert [read(reader, path, row) for row in (2, 0)] == [png(1), png(0)]
    reader.close()


def test_what_stands_in_place_of_a_page_costs_the_rows_of_its_group(tmp_path, reader):
    images = [os.urandom(100) for _ in range(4)]
    path = written(
        tmp_path / "m.parquet", images, row_group_size=2, use_dictionary=False, compression="none"
    )
    start = pa_parquet.read_metadata(path).row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 4] = b"\x19\x19\x19\x19"
    path.write_bytes(data)
    assert [read(reader, path, row) for row in (0, 1)] == images[:2]
    with pytest.raises(ItemError) as caught:
        read(reader, path, 2)
    assert caught.value.code is ErrorCode.UNREADABLE_IMAGE


def test_a_value_that_a_dictionary_repeats_is_unpacked_once_at_a_time(tmp_path, reader):
    path = written(tmp_path / "m.parquet", [bytes(10**6)] * 300)
    before = pa.total_allocated_bytes()
    assert read(reader, path, 0) == bytes(10**6)
    assert pa.total_allocated_bytes() - before < 10 * 10**6


# --- behind a URL


def test_a_large_page_behind_a_url_is_refused_too(tmp_path):
    path = written(tmp_path / "m.parquet", [png(0), bytes(10**6)], use_dictionary=False)
    fsspec.filesystem("memory").pipe_file("/test_parquet_rows/m.parquet", path.read_bytes())
    reader = ParquetReader(max_page_bytes=500_000)
    with pytest.raises(ItemError) as caught:
        read(reader, "memory://test_parquet_rows/m.parquet", 0)
    assert caught.value.code is ErrorCode.IMAGE_TOO_LARGE
    reader.close()


def test_a_remote_file_is_read(tmp_path, reader):
    data = written(tmp_path / "m.parquet", [png(0), png(1)], row_group_size=1).read_bytes()
    fsspec.filesystem("memory").pipe_file("/test_parquet_rows/m.parquet", data)
    url = "memory://test_parquet_rows/m.parquet"
    assert [read(reader, url, row) for row in (0, 1)] == [png(0), png(1)]


def test_a_remote_failure_is_tried_again_at_the_next_row(tmp_path, reader, monkeypatch):
    monkeypatch.setattr(parquet_file, "_REMOTE_BUFFER_BYTES", 1024)
    images = [os.urandom(5000) for _ in range(4)]
    data = written(tmp_path / "m.parquet", images, row_group_size=1).read_bytes()
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/test_parquet_rows/m.parquet", data)
    url = "memory://test_parquet_rows/m.parquet"
    assert read(reader, url, 0) == images[0]
    file_type = type(memory.open("/test_parquet_rows/m.parquet"))

    def fail(self, *_):
        raise ConnectionResetError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(file_type, "read", fail, raising=False)
        assert "gone" in complaint_of(reader, url, 1)
    assert read(reader, url, 1) == images[1]


# --- rows that wait


def test_rows_beyond_the_memory_wait_on_disk_and_leave_nothing(tmp_path):
    passed = PassedRows(memory_bytes=10, segment_bytes=20, folder=tmp_path)
    rows = {row: b"%05d" % row for row in range(20)} | {20: "a path"}
    for row, value in rows.items():
        passed.put(row, value)
    assert passed.disk_bytes == 100
    assert {row: passed.take(row) for row in rows} == rows
    assert passed.take(0) is None
    passed.close()
    assert passed.disk_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_a_text_keeps_being_a_text_on_disk(tmp_path):
    passed = PassedRows(memory_bytes=1, folder=tmp_path)
    for row, value in enumerate(["é.png", b"bytes", b"last"]):
        passed.put(row, value)
    assert [passed.take(row) for row in range(3)] == ["é.png", b"bytes", b"last"]
    passed.close()


def test_files_whose_rows_are_all_read_are_removed(tmp_path):
    passed = PassedRows(memory_bytes=1, segment_bytes=10, folder=tmp_path)
    for row in range(10):
        passed.put(row, b"12345")
    assert passed.disk_bytes == 45
    for row in range(8):
        passed.take(row)
    assert passed.disk_bytes == 5
    passed.close()


def test_the_oldest_files_give_way(tmp_path):
    passed = PassedRows(memory_bytes=1, segment_bytes=10, max_segments=2, folder=tmp_path)
    for row in range(10):
        passed.put(row, b"12345")
    assert passed.disk_bytes <= 20
    assert [row for row in range(10) if passed.take(row) is not None] == [6, 7, 8, 9]
    passed.close()


def test_a_file_holds_a_bounded_number_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(passed_rows, "_SEGMENT_ROWS", 2)
    passed = PassedRows(memory_bytes=0, max_segments=2, folder=tmp_path)
    for row in range(10):
        passed.put(row, b"1")
    assert [row for row in range(10) if passed.take(row) is not None] == [6, 7, 8, 9]
    passed.close()


def test_a_row_is_kept_once_in_memory_and_on_disk(tmp_path):
    passed = PassedRows(memory_bytes=5, folder=tmp_path)
    for row in (0, 0, 1, 0, 1):
        passed.put(row, b"12345")
    assert passed.disk_bytes == 5
    assert [passed.take(row) for row in (0, 0, 1, 1)] == [b"12345", None, b"12345", None]
    passed.close()


def test_nothing_goes_to_a_disk_that_is_nearly_full_or_not_there(tmp_path):
    for passed in (
        PassedRows(memory_bytes=5, free_bytes=2**62, folder=tmp_path),
        PassedRows(memory_bytes=5, folder=tmp_path / "none"),
        PassedRows(memory_bytes=5, max_segments=0),
    ):
        passed.put(0, b"12345")
        passed.put(1, b"12345")
        assert passed.disk_bytes == 0
        assert [passed.take(row) for row in (0, 1)] == [None, b"12345"]
        passed.close()


class FullDisk(BytesIO):
    """A file that takes nothing, or gives nothing back."""

    def __init__(self, *, is_writable):
        super().__init__()
        self.is_writable = is_writable

    def write(self, data):
        if not self.is_writable:
            raise OSError(28, "No space left on device")
        return super().write(data)

    def read(self, *_):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("is_writable", [False, True])
def test_rows_that_a_disk_loses_are_forgotten(tmp_path, monkeypatch, is_writable):
    monkeypatch.setattr(
        passed_rows.tempfile, "TemporaryFile", lambda **_: FullDisk(is_writable=is_writable)
    )
    passed = PassedRows(memory_bytes=5, folder=tmp_path)
    passed.put(0, b"12345")
    passed.put(1, b"12345")
    assert [passed.take(row) for row in (0, 1)] == [None, b"12345"]
    passed.close()
