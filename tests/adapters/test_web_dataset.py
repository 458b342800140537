"""Tar archives in WebDataset's form."""

import pytest

from tests.adapters.archiving import (
    complaint_of,
    ids_of,
    png,
    rows_of,
    source_of,
    tar_bytes,
    tiff,
    upload,
    zip_bytes,
)
from vision_pipeline.adapters.sources import batches, web_dataset
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.records import RESERVED_COLUMNS

SAMPLES = {
    "a/0001.png": png(1),
    "a/0001.txt": "ein Käse\n".encode(),
    "a/0001.cls": b"7\r\n",
    "a/0001.json": b'{"w": 3}\n',
    "a/0001.caption.txt": b"two\nlines\n\n",
    "a/0002.JPG": png(2),
    "a/0002.TXT": b"second",
}


def listed(tmp_path, files, **settings):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes(files))
    return source_of(path, **settings)


def test_a_sample_is_an_item_with_its_texts_as_columns(tmp_path):
    source = listed(tmp_path, SAMPLES, reserved=RESERVED_COLUMNS)
    [batch] = source.batches()
    assert batch.schema.names == ["item_id", "images", "caption_txt", "cls", "json", "txt"]
    first, second = batch.to_pylist()
    [image] = first.pop("images")
    assert first == {
        "item_id": "a/0001",
        "caption_txt": "two\nlines\n",
        "cls": "7",
        "json": '{"w": 3}\n',
        "txt": "ein Käse",
    }
    assert image["uri"] == f"tar://a/0001.png::{tmp_path}/x.tar"
    content = (tmp_path / "x.tar").read_bytes()[image["offset_bytes"] :]
    assert content.startswith(png(1))
    assert (second["item_id"], second["txt"], second["cls"]) == ("a/0002", "second", None)
    assert source.counts == {}


def test_numbered_images_without_texts_are_no_samples(tmp_path):
    files = {"IMG.001.png": png(), "IMG.002.png": png(), "README.txt": b"x", "LICENSE": b"x"}
    source = listed(tmp_path, files)
    [batch] = source.batches()
    assert batch.schema.names == ["item_id", "images"]
    assert [row["item_id"] for row in batch.to_pylist()] == ["IMG.001.png", "IMG.002.png"]
    assert source.counts == {"not_image": 2}


def test_texts_beside_images_in_a_zip_are_passed_over(tmp_path):
    (tmp_path / "x.zip").write_bytes(zip_bytes({"1.png": png(), "1.txt": b"x"}))
    assert rows_of(source_of(tmp_path / "x.zip"))[0].keys() == {"item_id", "images"}


def test_members_of_a_sample_may_lie_apart_and_come_in_any_order(tmp_path):
    files = {"1.txt": b"one", "2.txt": b"two", "2.png": png(), "1.png": png()}
    rows = rows_of(listed(tmp_path, files))
    assert [(row["item_id"], row["txt"]) for row in rows] == [("1", "one"), ("2", "two")]


def test_all_images_of_a_sample_go_together_in_the_order_of_the_archive(tmp_path):
    files = {"1.seg.png": png(1), "1.json": b"{}", "1.jpg": png(2), "d.e/1.png": png(3)}
    rows = rows_of(listed(tmp_path, files))
    uris = [[image["uri"].partition("::")[0] for image in row["images"]] for row in rows]
    assert uris == [["tar://1.seg.png", "tar://1.jpg"], ["tar://d.e/1.png"]]
    assert [row["item_id"] for row in rows] == ["1", "d.e/1"]


def test_a_document_gives_an_item_a_page_or_in_a_group_an_image_a_page(tmp_path):
    files = {"1.tif": tiff(2), "1.txt": b"one", "2.png": png(), "2.tif": tiff(2), "2.txt": b"two"}
    rows = rows_of(listed(tmp_path, files))
    assert [(row["item_id"], row["txt"]) for row in rows] == [
        ("1#page=1", "one"),
        ("1#page=2", "one"),
        ("2", "two"),
    ]
    assert [[image["page"] for image in row["images"]] for row in rows] == [[1], [2], [None, 1, 2]]


def test_samples_without_an_image_and_odd_files_are_counted(tmp_path):
    files = {
        "1.png": png(),
        "1.txt": b"one",
        "2.txt": b"two",
        "2.json": b"{}",
        "README": b"x",
        ".hidden.txt": b"x",
        "1.npy": b"\x93NUMPY",
        "1.segment.pth": b"x",
    }
    source = listed(tmp_path, files)
    assert [row.keys() for row in rows_of(source)] == [{"item_id", "images", "json", "txt"}]
    assert source.counts == {"no_image": 1, "not_image": 1, "hidden": 1, "no_text": 2}


def test_a_text_that_is_none_or_too_long_is_null_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(web_dataset, "_MOST_TEXT_BYTES", 10)
    files = {}
    for name, text in {"1": b"\xff\xfe", "2": b"x" * 11, "3": b"x" * 10}.items():
        files |= {f"{name}.png": png(), f"{name}.txt": text}
    source = listed(tmp_path, files)
    assert [row["txt"] for row in rows_of(source)] == [None, None, "x" * 10]
    assert source.counts == {"unreadable_columns": 2}


def test_patterns_leave_images_and_columns_out(tmp_path):
    files = {"1.png": png(), "1.mask.png": png(), "1.txt": b"one", "1.json": b"{}"}
    source = listed(tmp_path, files, exclude=["*.json", "*.mask.png"])
    [row] = rows_of(source)
    assert row.keys() == {"item_id", "images", "txt"}
    assert len(row["images"]) == 1
    assert source.counts == {"excluded": 2}
    source = listed(tmp_path, files, include=["*.mask.png"])
    [row] = rows_of(source)
    assert row.keys() == {"item_id", "images", "json", "txt"}
    assert row["images"][0]["uri"].startswith("tar://1.mask.png")
    assert source.counts == {"excluded": 1}


def test_leaving_all_columns_out_leaves_the_ids(tmp_path):
    [row] = rows_of(listed(tmp_path, {"1.png": png(), "1.txt": b"x"}, exclude=["*.txt"]))
    assert row.keys() == {"item_id", "images"}
    assert row["item_id"] == "1"


@pytest.mark.parametrize(
    ("extension", "column"),
    [("foo-bar", "foo_bar"), ("2nd", "_2nd"), ("in", "in_"), ("none", "none_"), ("é", "é")],
)
def test_columns_have_names_that_a_template_can_use(tmp_path, extension, column):
    [row] = rows_of(listed(tmp_path, {"1.png": png(), f"1.{extension}": b"x"}))
    assert row[column] == "x"


@pytest.mark.parametrize("extension", ["status", "images", "item_id", "Prompt"])
def test_an_extension_that_is_a_reserved_name_is_refused_with_what_to_do(tmp_path, extension):
    files = {"1.png": png(), f"1.{extension}": b"x"}
    complaint = complaint_of(listed(tmp_path, files, reserved=RESERVED_COLUMNS))
    assert f"'1.{extension}' would be the column '{extension.lower()}'" in complaint
    [row] = rows_of(listed(tmp_path, files, reserved=RESERVED_COLUMNS, exclude=[f"*.{extension}"]))
    assert row["item_id"] == "1"


def test_two_extensions_of_one_column_are_refused(tmp_path):
    files = {"1.png": png(), "1.caption.txt": b"x", "2.png": png(), "2.caption_txt": b"x"}
    complaint = complaint_of(listed(tmp_path, files))
    assert "'2.caption_txt' would be the column 'caption_txt', as '.caption.txt' is" in complaint
    assert "source.exclude: ['*.caption_txt']" in complaint


@pytest.mark.parametrize("name", ["1.png", "1.txt", "1.TXT"])
def test_a_sample_that_is_there_twice_is_refused(tmp_path, name):
    files = [("1.png", png()), ("1.txt", b"x"), (name, b"x")]
    assert f"{name!r} is there twice" in complaint_of(listed(tmp_path, files))


def test_the_archives_of_a_pattern_have_one_schema(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_bytes({"1.png": png(), "1.txt": b"one"}))
    (tmp_path / "b.tar").write_bytes(tar_bytes({"1.png": png(), "1.json": b"{}"}))
    (tmp_path / "c.tar").write_bytes(tar_bytes({"IMG.1.png": png(), "IMG.2.png": png()}))
    (tmp_path / "d.png").write_bytes(png())
    (tmp_path / "e.zip").write_bytes(zip_bytes({"1.png": png()}))
    rows = rows_of(source_of(tmp_path / "*"))
    assert [(row["item_id"], row["txt"], row["json"]) for row in rows] == [
        ("a.tar/1", "one", None),
        ("b.tar/1", None, "{}"),
        ("c.tar/IMG.1.png", None, None),
        ("c.tar/IMG.2.png", None, None),
        ("d.png", None, None),
        ("e.zip/1.png", None, None),
    ]


def test_samples_come_in_batches_of_bounded_rows_and_texts(tmp_path, monkeypatch):
    files = {}
    for number in range(5):
        files |= {f"{number}.png": png(), f"{number}.txt": b"x" * 100}
    monkeypatch.setattr(web_dataset, "BATCH_ROWS", 2)
    source = listed(tmp_path, files)
    assert [batch.num_rows for batch in source.batches()] == [2, 2, 1]
    monkeypatch.setattr(web_dataset, "BATCH_ROWS", 5)
    assert [batch.num_rows for batch in source.batches()] == [5]
    monkeypatch.setattr(web_dataset, "BATCH_ROWS", batches.BATCH_ROWS)
    monkeypatch.setattr(web_dataset, "_BATCH_TEXT_BYTES", 300)
    assert [batch.num_rows for batch in source.batches()] == [3, 2]


@pytest.mark.parametrize(
    ("end_bytes", "last"),
    [
        (2 * 1024 + 100, [("(damaged from byte 2048 on)", None)]),
        (2 * 1024 + 530, [("2", None)]),
        (3 * 1024 + 512, [("2", None)]),  # within the text, which is then none
    ],
)
def test_a_data_set_that_is_cut_off_says_so(tmp_path, end_bytes, last):
    path = tmp_path / "x.tar"
    files = {"1.png": png(), "1.txt": b"one", "2.png": png(), "2.txt": b"two"}
    path.write_bytes(tar_bytes(files)[:end_bytes])
    rows = rows_of(source_of(path))
    assert [(row["item_id"], row["txt"]) for row in rows] == [("1", "one"), *last]


def test_a_list_too_long_to_be_held_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.sources.path._MOST_HELD_MEMBERS", 3)
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(tar_bytes({"1.png": png(), "1.txt": b"one"}))
    assert ids_of(source_of(tmp_path / "*.tar")) == ["a.tar/1", "b.tar/1"]


def test_a_data_set_in_a_store_is_listed_as_a_local_one_is():
    upload("memory://webdataset/x.tar", tar_bytes(SAMPLES))
    rows = rows_of(source_of("memory://webdataset/x.tar"))
    assert [(row["item_id"], row["txt"]) for row in rows] == [
        ("a/0001", "ein Käse"),
        ("a/0002", "second"),
    ]


def test_names_with_dots_that_would_make_columns_without_end_are_refused(tmp_path):
    files = {}
    for number in range(101):
        files |= {f"v1.{number}.png": png(), f"v1.{number}.txt": b"x"}
    complaint = complaint_of(listed(tmp_path, files))
    assert "'v1.100.txt': more than 100 extensions" in complaint
    assert "first dot" in complaint


def test_an_archive_that_gets_a_new_kind_of_text_meanwhile_keeps_its_columns(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_pipeline.adapters.sources.path._MOST_HELD_MEMBERS", 0)
    monkeypatch.setattr(web_dataset, "BATCH_ROWS", 1)
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(tar_bytes({"1.png": png(), "1.txt": b"one"}))
    listing = source_of(tmp_path / "*.tar").batches()
    first = next(listing)
    (tmp_path / "b.tar").write_bytes(tar_bytes({"1.png": png(), "1.txt": b"two", "1.new": b"x"}))
    [second] = listing
    assert second.schema == first.schema
    assert second.to_pylist()[0]["txt"] == "two"


def test_an_archive_that_vanishes_meanwhile_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(web_dataset, "BATCH_ROWS", 1)
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(tar_bytes({"1.png": png(), "1.txt": b"one"}))
    listing = source_of(tmp_path / "*.tar").batches()
    next(listing)
    (tmp_path / "b.tar").unlink()
    with pytest.raises(SourceError, match=r"b\.tar"):
        next(listing)
