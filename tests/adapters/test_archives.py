"""Archives as sources."""

import io
import os
import stat
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path

import fsspec
import pytest

from tests.adapters.archiving import (
    PACK,
    complaint_of,
    ids_of,
    images_of,
    pdf,
    png,
    read,
    rows_of,
    source_of,
    tar_bytes,
    tiff,
    upload,
    zip_bytes,
)
from vision_pipeline.adapters.images import TarReader, ZipReader
from vision_pipeline.core.errors import ItemError, SourceError
from vision_pipeline.core.records import ImageRef

SCHEMES = ["tar", "zip"]


@pytest.fixture
def bucket(request):
    """The URL of an empty folder in memory."""
    url = f"memory://{request.node.name.replace('[', '-').replace(']', '')}"
    yield url
    file_system, path = fsspec.core.url_to_fs(url)
    file_system.rm(path, recursive=True)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_images_of_an_archive_are_items_in_its_order(tmp_path, scheme):
    path = tmp_path / f"photos.{scheme}"
    files = {"b.png": png(1), "a/c.JPG": png(2), "notes.txt": b"x", "old/d.png": png(3)}
    path.write_bytes(PACK[scheme](files))
    source = source_of(path, exclude=["old/"])
    rows = rows_of(source)
    assert [row["item_id"] for row in rows] == ["b.png", "a/c.JPG"]
    images = [row["images"][0] for row in rows]
    assert [each["uri"] for each in images] == [
        f"{scheme}://b.png::{path}",
        f"{scheme}://a/c.JPG::{path}",
    ]
    assert [each["size_bytes"] for each in images] == [len(png(1)), len(png(2))]
    assert source.counts == {"not_image": 1, "excluded": 1}


def test_offsets_are_those_of_the_content_in_a_tar_and_of_the_header_in_a_zip(tmp_path):
    for scheme in SCHEMES:
        (tmp_path / f"a.{scheme}").write_bytes(PACK[scheme]({"a.png": png(), "b.png": png(1)}))
    tarred = [each["offset_bytes"] for each in images_of(source_of(tmp_path / "a.tar"))]
    assert (tmp_path / "a.tar").read_bytes()[tarred[1] :].startswith(png(1))
    zipped = [each["offset_bytes"] for each in images_of(source_of(tmp_path / "a.zip"))]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert zipped == [each.header_offset for each in archive.infolist()]


def test_appending_to_a_zip_leaves_the_versions_of_its_members(tmp_path):
    path = tmp_path / "a.zip"
    versions = []
    for files in ({"a.png": png(0)}, {"a.png": png(0), "b.png": png(1)}, {"a.png": png(1)}):
        path.write_bytes(PACK["zip"](files))
        versions.append(images_of(source_of(path))[0]["version"])
    assert versions[0] == versions[1]
    assert versions[0] != versions[2]  # of one size and one time, but with another CRC


def test_another_tar_of_the_same_sizes_and_times_has_other_versions(tmp_path):
    path = tmp_path / "a.tar"
    versions = []
    for time_ns in (1_700_000_000_000_000_000, 1_800_000_000_000_000_000):
        path.write_bytes(tar_bytes({"a.png": png()}))
        os.utime(path, ns=(time_ns, time_ns))
        versions.append(images_of(source_of(path))[0]["version"])
    assert versions[0] != versions[1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_hidden_members_are_counted(tmp_path, scheme):
    path = tmp_path / f"a.{scheme}"
    names = ["._a.png", ".git/a.png", "x/.thumbs/a.png", "__MACOSX/a.png", "../up.png", "a.png"]
    path.write_bytes(PACK[scheme](dict.fromkeys(names, png())))
    source = source_of(path)
    assert ids_of(source) == ["../up.png", "a.png"]
    assert source.counts["hidden"] == 4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_names_of_any_kind_are_only_names(tmp_path, scheme):
    path = tmp_path / f"a.{scheme}"
    names = [
        "/etc/a.png",
        "../../a.png",
        "b\\c.png",
        "x::y.png",
        "line\nbreak.png",
        "😀.png",
        "a:.png",
    ]
    path.write_bytes(PACK[scheme](dict.fromkeys(names, png())))
    assert ids_of(source_of(path)) == names
    assert [each["uri"] for each in images_of(source_of(path))] == [
        f"{scheme}://{name}::{path}" for name in names
    ]
    assert [each.name for each in tmp_path.iterdir()] == [f"a.{scheme}"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_told_apart(tmp_path, scheme):
    path = tmp_path / f"a.{scheme}"
    path.write_bytes(PACK[scheme]([("a.png", png(0)), ("a.png", png(1))]))
    rows = rows_of(source_of(path))
    assert [row["item_id"] for row in rows] == ["a.png", "a.png (2)"]
    assert len({row["images"][0]["offset_bytes"] for row in rows}) == 2


def test_names_that_are_no_utf8_are_readable(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(os.fsdecode(b"caf\xe9.png")))
    (tmp_path / "a.tar").write_bytes(file.getvalue())
    assert ids_of(source_of(tmp_path / "a.tar")) == ["caf%E9.png"]
    data = zip_bytes({"caf?.png": png()}).replace(b"caf?.png", b"caf\xe9.png")
    (tmp_path / "a.zip").write_bytes(data)
    [name] = ids_of(source_of(tmp_path / "a.zip"))
    assert name.startswith("caf")
    assert name.endswith(".png")


def test_links_in_a_tar_are_items_where_they_lead_to_a_member(tmp_path):
    files = {
        "d/later.png": (tarfile.SYMTYPE, "../a.png"),
        "a.png": png(1),
        "b.png": (tarfile.LNKTYPE, "./a.png"),
        "c.png": (tarfile.SYMTYPE, "b.png"),
        "round.png": (tarfile.SYMTYPE, "round.png"),
        "out.png": (tarfile.SYMTYPE, "../../etc/passwd"),
        "out.txt": (tarfile.SYMTYPE, "/etc/passwd"),
        "folder.png": (tarfile.SYMTYPE, "d"),
    }
    (tmp_path / "a.tar").write_bytes(tar_bytes(files))
    source = source_of(tmp_path / "a.tar")
    assert ids_of(source) == ["d/later.png", "a.png", "b.png", "c.png"]
    assert source.counts == {"links": 3, "not_image": 1}
    assert len({image["offset_bytes"] for image in images_of(source)}) == 1


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_link_to_a_long_name_finds_it(tmp_path, tar_format):
    name = "n" * 200 + "/ä.png"
    files = {name: png(1), "b.png": (tarfile.LNKTYPE, name)}
    (tmp_path / "a.tar").write_bytes(tar_bytes(files, tar_format))
    assert ids_of(source_of(tmp_path / "a.tar")) == [name, "b.png"]


def test_links_that_lead_out_of_archives_and_folders_are_no_items(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo("x.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    (tmp_path / "a.tar").write_bytes(file.getvalue())
    assert ids_of(source_of(tmp_path / "a.tar")) == []
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("folder.png/", b"")
        archive.writestr("a.png", png())
    source = source_of(tmp_path / "a.zip")
    assert ids_of(source) == ["a.png"]
    assert source.counts == {"links": 1}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_archive_without_images_gives_no_items(tmp_path, scheme):
    (tmp_path / f"none.{scheme}").write_bytes(PACK[scheme]({}))
    (tmp_path / f"text.{scheme}").write_bytes(PACK[scheme]({"a.txt": b"x", "README": b"x"}))
    assert list(source_of(tmp_path / f"none.{scheme}").batches()) == []
    source = source_of(tmp_path / f"text.{scheme}")
    assert list(source.batches()) == []
    assert source.counts["not_image"] == 2


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x1f\x8b" + bytes(2000)])
def test_what_is_no_archive_is_refused_by_its_name(tmp_path, scheme, content):
    path = tmp_path / f"bad.{scheme}"
    path.write_bytes(content)
    assert f"{path}: no {scheme} archive, or damaged: " in complaint_of(source_of(path))


def test_a_zip_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "cut.zip"
    path.write_bytes(zip_bytes({"a.png": png(), "b.png": png()})[:-30])
    assert str(path) in complaint_of(source_of(path))


def test_a_zip_whose_directory_leads_nowhere_is_refused(tmp_path):
    path = tmp_path / "odd.zip"
    data = bytearray(zip_bytes({"a.png": png()}))
    data[-10:-6] = b"\xff\xff\xff\x7f"  # the directory's size, in the record at the end
    path.write_bytes(data)
    assert str(path) in complaint_of(source_of(path))


@pytest.mark.parametrize(
    ("end_bytes", "ids", "is_told_by_a_count"),
    [
        (2 * 1024 + 530, ["a.png", "b.png", "c.png"], False),  # within the content of the third
        (2 * 1024 + 100, ["a.png", "b.png", "(damaged from byte 2048 on)"], False),
        (3 * 1024, ["a.png", "b.png", "c.png"], True),
        (4 * 1024, ["a.png", "b.png", "c.png"], False),
    ],
)
def test_a_tar_that_is_cut_off_says_so(tmp_path, end_bytes, ids, is_told_by_a_count):
    path = tmp_path / "cut.tar"
    data = tar_bytes({"a.png": png(), "b.png": png(), "c.png": png()})
    path.write_bytes(data[:end_bytes])
    source = source_of(path)
    assert ids_of(source) == ids
    assert source.counts["archives_without_end_mark"] == is_told_by_a_count


def failures_of(source):
    """By id, what the reading of each item that cannot be read says."""
    failures = {}
    for row in rows_of(source):
        [image] = row["images"]
        try:
            with closing(ZipReader()) as zips:
                read({"tar": TarReader(), "zip": zips}, ImageRef(**image))
        except ItemError as error:
            failures[row["item_id"]] = str(error)
    return failures


def evil_header(size):
    header = bytearray(tar_bytes({"evil.png": b""})[:512])
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + b"\xff" * 11])
def test_a_tar_with_a_size_that_cannot_be_is_refused_or_ends_there(tmp_path, size):
    path = tmp_path / "evil.tar"
    path.write_bytes(evil_header(size) + bytes(1024))
    assert str(path) in complaint_of(source_of(path))
    path.write_bytes(tar_bytes({"a.png": b""})[:512] + evil_header(size) + bytes(1024))
    source = source_of(path)
    assert ids_of(source) == ["a.png", "(damaged from byte 512 on)"]
    assert "no tar header at byte 512" in failures_of(source)["(damaged from byte 512 on)"]


def test_a_member_that_is_said_to_be_longer_than_its_archive_cannot_be_read(tmp_path):
    path = tmp_path / "evil.tar"
    path.write_bytes(evil_header(b"77777777777\0") + bytes(1024))
    source = source_of(path)
    assert ids_of(source) == ["evil.png"]
    assert "cut off" in failures_of(source)["evil.png"]


def test_a_damaged_archive_among_others_is_an_item_that_cannot_be_read(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no archive" * 100)
    (tmp_path / "b.zip").write_bytes(zip_bytes({"x.png": png()})[:-30])
    (tmp_path / "c.tar").write_bytes(tar_bytes({"x.png": png()}))
    (tmp_path / "d.zip").write_bytes(zip_bytes({"x.png": png()}))
    (tmp_path / "e.tar").write_bytes(b"")
    source = source_of(tmp_path / "*")
    assert ids_of(source) == [
        "a.tar/(damaged from byte 0 on)",
        "b.zip/(damaged)",
        "c.tar/x.png",
        "d.zip/x.png",
        "e.tar/(damaged from byte 0 on)",
    ]
    failures = failures_of(source)
    assert len(failures) == 3
    assert "no tar header at byte 0" in failures["a.tar/(damaged from byte 0 on)"]
    assert "not a zip file" in failures["b.zip/(damaged)"]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("x.tar.gz", "gunzip x.tar.gz"),
        ("x.TGZ", "gunzip x.TGZ"),
        ("x.tar.bz2", "bunzip2 x.tar.bz2"),
        ("x.txz", "unxz x.txz"),
        ("x.tar.zst", "unzstd x.tar.zst"),
    ],
)
def test_a_compressed_tar_is_refused_with_what_to_do(tmp_path, name, command):
    (tmp_path / name).write_bytes(b"")
    for path in (tmp_path / name, tmp_path / "x.*"):
        complaint = complaint_of(source_of(path))
        assert name in complaint
        assert complaint.endswith(f"decompress it first: {command}")


def test_a_path_that_could_not_be_told_from_a_member_is_refused(tmp_path):
    (tmp_path / "a::b").mkdir()
    path = tmp_path / "a::b" / "x.zip"
    path.write_bytes(zip_bytes({"a.png": png()}))
    assert "rename" in complaint_of(source_of(path))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_archive_that_is_gone_or_on_the_web_is_refused(tmp_path, scheme):
    assert "no such" in complaint_of(source_of(tmp_path / f"none.{scheme}"))
    url = f"https://example.org/a.{scheme}"
    with pytest.raises(SourceError, match="download it"):
        source_of(url)


def test_archives_in_a_folder_are_passed_over(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_bytes({"a.png": png()}))
    (tmp_path / "b.tar").write_bytes(tar_bytes({"a.png": png()}))
    source = source_of(tmp_path)
    assert ids_of(source) == []
    assert source.counts == {"archive": 2}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_documents_in_an_archive_are_listed_by_page(tmp_path, scheme):
    path = tmp_path / f"a.{scheme}"
    files = {"before.png": png(), "a.tif": tiff(3), "b.pdf": pdf(2), "c.tif": tiff(1)}
    path.write_bytes(PACK[scheme](files))
    assert [(each["uri"], each["page"]) for each in images_of(source_of(path))] == [
        (f"{scheme}://before.png::{path}", None),
        *((f"{scheme}://a.tif::{path}", page) for page in (1, 2, 3)),
        *((f"{scheme}://b.pdf::{path}", page) for page in (1, 2)),
        (f"{scheme}://c.tif::{path}", None),
    ]


def test_a_document_that_inflates_without_end_stays_one_item(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zip_bytes({"a.pdf": pdf(2) + bytes(10_000_000)}))
    assert ids_of(source_of(path, max_source_bytes=1000)) == ["a.pdf"]
    data = zip_bytes({"a.pdf": pdf(2) + bytes(10_000_000)})
    size = (len(pdf(2)) + 10_000_000).to_bytes(4, "little")
    path.write_bytes(data.replace(size, (500).to_bytes(4, "little")))  # and says that it does not
    assert ids_of(source_of(path, max_source_bytes=1000)) == ["a.pdf"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_archive_in_a_store_is_listed_as_a_local_one_is(bucket, scheme):
    url = f"{bucket}/a.{scheme}"
    upload(url, PACK[scheme]({"a.png": png(), "b.tif": tiff(2)}))
    rows = rows_of(source_of(url))
    assert [row["item_id"] for row in rows] == ["a.png", "b.tif#page=1", "b.tif#page=2"]
    assert rows[0]["images"][0]["uri"].startswith(f"{scheme}://a.png::memory://")


def test_a_file_url_and_a_name_that_is_no_utf8_lead_to_archives(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a.png": png()}))
    assert ids_of(source_of((tmp_path / "a.tar").as_uri())) == ["a.png"]
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.zip"))
    try:
        odd.write_bytes(zip_bytes({"a.png": png()}))
    except OSError:
        pytest.skip("the file system refuses such names")
    [image] = images_of(source_of(odd))
    assert image["uri"] == f"zip://a.png::file://{tmp_path}/caf%E9.zip"
    assert ids_of(source_of(tmp_path / "*.zip")) == ["caf%E9.zip/a.png"]
