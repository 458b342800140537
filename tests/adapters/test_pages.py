"""Documents of several pages, one item a page."""

import io
import os

import pytest

from tests.adapters.archiving import ids_of, pdf, pdf_pages, png, rows_of, source_of, tiff, upload
from vision_pipeline.adapters.sources import open_source
from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.pages import Pages
from vision_pipeline.core.errors import ErrorCode, ItemError


def pages(max_pages=10, max_bytes=100_000, count_pages=pdf_pages):
    return Pages(max_pages, max_bytes, count_pages)


def found(path):
    return Found("id", str(path), 7, "version")


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.btf", "a.pdf", "a.PDF"])
def test_each_page_is_an_item_with_a_number(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(pdf(2) if "pdf" in name.lower() else tiff(2))
    assert pages().of(found(path)) == [
        Found("id#page=1", str(path), 7, "version", page=1),
        Found("id#page=2", str(path), 7, "version", page=2),
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("a.tif", tiff(1)), ("a.pdf", pdf(1)), ("a.png", tiff(3))]
)
def test_a_file_of_one_page_and_one_that_is_named_otherwise_stay_as_they_are(
    tmp_path, name, content
):
    path = tmp_path / name
    path.write_bytes(content)
    assert pages().of(found(path)) == [found(path)]


@pytest.mark.parametrize(("name", "content"), [("a.tif", tiff(4)), ("a.pdf", pdf(4))])
def test_a_document_of_too_many_pages_stays_one_item(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert pages(max_pages=3).of(found(path)) == [found(path)]
    assert len(pages(max_pages=4).of(found(path))) == 4


def test_a_document_that_is_too_large_is_not_read_whole(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(4))

    def no_count(data):
        raise AssertionError(data)

    strict = pages(max_bytes=20, count_pages=no_count)
    for size_bytes in (None, 7, 21):  # also where the listing says nothing, or less than is true
        one = Found("id", str(path), size_bytes)
        assert strict.of(one) == [one]


def test_a_document_that_cannot_be_counted_stays_one_item(tmp_path):
    def refuse(data):
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, "encrypted")

    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(4))
    assert pages(count_pages=refuse).of(found(path)) == [found(path)]


def test_what_cannot_be_opened_stays_one_item(tmp_path):
    os.mkfifo(tmp_path / "pipe.pdf")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "damaged.tif").write_bytes(tiff(3)[:40])
    for name in ("pipe.pdf", "folder.tif", "damaged.tif", "gone.tif", "gone.pdf", "nul\0.tif"):
        one = found(f"{tmp_path}/{name}")
        assert pages().of(one) == [one]
    for uri in ("nosuchscheme://a/b.tif", "memory://nowhere/a.tif", "memory://nowhere/a.pdf"):
        assert pages().of(found(uri)) == [found(uri)]


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/a.tif",
        "https://example.org/a.pdf",
        "data:application/pdf,a.pdf",
        "DATA:,a.tif",
        "sftp://10.0.0.1/a.tif",
        "memory://a::http://127.0.0.1/a.tif",
        "zip://a.tif::http://127.0.0.1/x.zip",
    ],
)
def test_what_could_lead_anywhere_is_not_opened(uri, monkeypatch):
    opened = []
    monkeypatch.setattr("vision_pipeline.adapters.sources.pages.open_hopping", opened.append)
    assert pages().of(found(uri)) == [found(uri)]
    assert opened == []


def test_stores_and_file_urls_are_opened(tmp_path):
    path = tmp_path / "ü.tif"
    path.write_bytes(tiff(2))
    upload("memory://pages/a.tif", tiff(3))
    assert len(pages().of(found(path.as_uri()))) == 2
    assert len(pages().of(found("memory://pages/a.tif"))) == 3


@pytest.mark.parametrize(("name", "content"), [("a.tif", tiff(2)), ("a.pdf", pdf(2))])
def test_content_is_taken_where_it_is_given(name, content):
    member = found(f"tar://{name}::/nowhere.tar")
    assert len(pages().of(member, lambda: io.BytesIO(content))) == 2


def test_a_folder_lists_pages(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf(2))
    (tmp_path / "b.tif").write_bytes(tiff(2))
    (tmp_path / "c.png").write_bytes(png())
    (tmp_path / "d.pdf").write_bytes(pdf(9))
    source = source_of(tmp_path, max_pages=8)
    rows = rows_of(source)
    assert [(row["item_id"], row["images"][0]["page"]) for row in rows] == [
        ("a.pdf#page=1", 1),
        ("a.pdf#page=2", 2),
        ("b.tif#page=1", 1),
        ("b.tif#page=2", 2),
        ("c.png", None),
        ("d.pdf", None),
    ]
    assert {row["images"][0]["uri"] for row in rows[:2]} == {str(tmp_path / "a.pdf")}


def test_who_cannot_count_the_pages_of_a_pdf_takes_it_for_one_image(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf(2))
    assert ids_of(open_source(path=str(tmp_path))) == ["a.pdf"]


def test_a_remote_folder_lists_pages():
    upload("memory://pagefolder/a.tif", tiff(2))
    upload("memory://pagefolder/b.pdf", pdf(2))
    source = source_of("memory://pagefolder", max_source_bytes=len(tiff(2)))
    assert ids_of(source) == ["a.tif#page=1", "a.tif#page=2", "b.pdf#page=1", "b.pdf#page=2"]
    assert ids_of(source_of("memory://pagefolder", max_source_bytes=5)) == ["a.tif", "b.pdf"]


def test_a_single_document_lists_its_pages(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf(3))
    assert ids_of(source_of(tmp_path / "a.pdf")) == [f"a.pdf#page={page}" for page in (1, 2, 3)]
