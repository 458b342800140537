"""Reading members out of archives."""

import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest

from tests.adapters.archiving import (
    FILES,
    PACK,
    archive_at,
    code_of,
    png,
    read,
    refs_of,
    tar_bytes,
    upload,
)
from vision_pipeline.adapters.images import TarReader, ZipReader
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.members import Member
from vision_pipeline.core.records import ImageRef

SCHEMES = ["tar", "zip"]


@pytest.fixture
def readers():
    made = {"tar": TarReader(), "zip": ZipReader()}
    yield made
    made["zip"].close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_was_listed_is_read(tmp_path, readers, scheme):
    refs = refs_of(archive_at(tmp_path, scheme))
    assert [read(readers, ref) for ref in refs] == list(FILES.values())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_member_that_somebody_named_is_found(tmp_path, readers, scheme):
    path = archive_at(tmp_path, scheme)
    for container in (str(path), path.as_uri()):
        for name, content in FILES.items():
            assert read(readers, ImageRef(Member(scheme, name, container).uri)) == content


@pytest.mark.parametrize("scheme", SCHEMES)
def test_members_in_a_store_are_read(readers, scheme):
    url = f"memory://readers/x.{scheme}"
    upload(url, PACK[scheme](FILES))
    refs = refs_of(url)
    assert [read(readers, ref) for ref in refs] == list(FILES.values())
    assert read(readers, ImageRef(refs[1].uri)) == FILES["b/ü.png"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_more_is_read_than_one_byte_too_many(tmp_path, readers, scheme):
    ref = refs_of(archive_at(tmp_path, scheme))[2]
    assert read(readers, ref, max_bytes=10) == FILES["c.png"][:11]
    assert read(readers, ImageRef(ref.uri), max_bytes=10) == FILES["c.png"][:11]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_with_one_name_each_is_read(tmp_path, readers, scheme):
    files = [("a.png", png(1)), ("a.png", png(2))]
    refs = refs_of(archive_at(tmp_path, scheme, files))
    assert [read(readers, ref) for ref in refs] == [png(1), png(2)]
    assert read(readers, ImageRef(refs[0].uri)) == png(2)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_names_of_any_kind_are_read(tmp_path, readers, scheme):
    names = ["x::y.png", "line\nbreak.png", "../../up.png", "/abs.png", "b\\c.png", "😀.png"]
    path = archive_at(tmp_path, scheme, {name: name.encode() for name in names})
    for ref, name in zip(refs_of(path), names, strict=True):
        assert read(readers, ref) == name.encode()
        assert read(readers, ImageRef(ref.uri)) == name.encode()


def test_names_in_a_tar_that_are_no_utf8_or_begin_with_a_dot_are_found(tmp_path, readers):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as made:
        made.addfile(tarfile.TarInfo("link.png"))
        link = tarfile.TarInfo("link.png")
        link.type = tarfile.SYMTYPE
        made.addfile(link)
        for name in (os.fsdecode(b"caf\xe9.png"), "./b.png"):
            info = tarfile.TarInfo(name)
            info.size = 1
            made.addfile(info, io.BytesIO(b"1"))
    path = tmp_path / "x.tar"
    path.write_bytes(file.getvalue())
    for name in ("caf%E9.png", "b.png", "./b.png"):
        assert read(readers, ImageRef(f"tar://{name}::{path}")) == b"1"
    assert read(readers, ImageRef(f"tar://link.png::{path}")) == b""  # the file, not the link


def test_a_link_in_a_tar_gives_the_content_of_the_member_that_it_leads_to(tmp_path, readers):
    path = tmp_path / "x.tar"
    links = {"b.png": (tarfile.LNKTYPE, "a.png"), "d/c.png": (tarfile.SYMTYPE, "../a.png")}
    path.write_bytes(tar_bytes({"a.png": png(1), **links}))
    assert [read(readers, ref) for ref in refs_of(path)] == [png(1)] * 3
    for name in ("b.png", "d/c.png"):
        assert read(readers, ImageRef(f"tar://{name}::{path}")) == png(1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_not_there_is_a_missing_source(tmp_path, readers, scheme):
    path = archive_at(tmp_path, scheme)
    os.mkfifo(tmp_path / "pipe")
    for container in (f"{tmp_path}/none", str(tmp_path), f"{tmp_path}/pipe", "memory://none/x"):
        ref = ImageRef(Member(scheme, "a.png", container).uri)
        assert code_of(readers, ref) == ErrorCode.SOURCE_MISSING
        listed = ImageRef(ref.uri, 5, offset_bytes=512)
        assert code_of(readers, listed) == ErrorCode.SOURCE_MISSING
    with pytest.raises(ItemError, match=r"no member 'z\.png'"):
        read(readers, ImageRef(Member(scheme, "z.png", str(path)).uri))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "files",
    [
        {"a.png": b"another"},
        {"other.png": png(1)},
        {"longer-name-in-front.png": bytes(3000), "a.png": png(1)},
        {},
    ],
)
def test_an_archive_that_has_changed_since_it_was_listed_is_a_missing_source(
    tmp_path, readers, scheme, files
):
    path = archive_at(tmp_path, scheme)
    refs = refs_of(path)
    assert read(readers, refs[2]) == FILES["c.png"]
    path.write_bytes(PACK[scheme](files))
    os.utime(path, (1, 1))  # writes follow each other faster than the file system's clock ticks
    assert code_of(readers, refs[2]) == ErrorCode.SOURCE_MISSING


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_damaged_archive_gives_no_part_of_an_image(tmp_path, readers, scheme):
    path = archive_at(tmp_path, scheme)
    [*_, last] = refs_of(path)
    for content in (path.read_bytes()[: last.offset_bytes + 10], b"x" * 100_000):
        path.write_bytes(content)
        os.utime(path, ns=(0, int(last.version.partition("-")[0])))
        assert code_of(readers, last) == ErrorCode.UNREADABLE_IMAGE


def test_a_member_of_a_damaged_archive_that_was_named_by_hand_may_be_anywhere(tmp_path, readers):
    for scheme, code in (("tar", "source_missing"), ("zip", "unreadable_image")):
        (tmp_path / "x").write_bytes(b"x" * 100_000)
        assert code_of(readers, ImageRef(f"{scheme}://a.png::{tmp_path}/x")) == code


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_member_that_was_added_is_found(tmp_path, readers, scheme):
    path = archive_at(tmp_path, scheme, {"a.png": png(1)})
    assert read(readers, ImageRef(f"{scheme}://a.png::{path}")) == png(1)
    path.write_bytes(PACK[scheme]({"a.png": png(1), "b.png": png(2)}))
    assert read(readers, ImageRef(f"{scheme}://b.png::{path}")) == png(2)


def test_a_tar_reader_forgets_the_archives_that_it_knew_first(tmp_path):
    reader = TarReader(most_known=1)
    paths = []
    for name in ("one.tar", "two.tar", "one.tar"):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(tar_bytes({"a.png": name.encode()}))
        ref = ImageRef(f"tar://a.png::{paths[-1]}")
        assert read({"tar": reader}, ref) == name.encode()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_many_threads_read_many_archives_at_once(tmp_path, scheme):
    one = {"tar": TarReader(most_known=2), "zip": ZipReader(most_open=2)}
    wanted = {}
    for number in range(5):
        path = tmp_path / f"{number}.{scheme}"
        contents = {f"{each}.png": os.urandom(3000) for each in range(20)}
        path.write_bytes(PACK[scheme](contents))
        for name, content in contents.items():
            wanted[f"{scheme}://{name}::{path}"] = content
    uris = sorted(wanted) * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda uri: read(one, ImageRef(uri)), uris))
    assert found == [wanted[uri] for uri in uris]
    one["zip"].close()


def test_a_store_that_fails_is_a_missing_source(readers, monkeypatch):
    upload("memory://failing/x.tar", tar_bytes(FILES))
    [ref, *_] = refs_of("memory://failing/x.tar")
    file_system, _ = fsspec.core.url_to_fs("memory://")

    def refuse(self, path, **options):
        raise RuntimeError("no network")

    monkeypatch.setattr(type(file_system), "cat_file", refuse)
    with pytest.raises(ItemError, match="no network") as caught:
        read(readers, ref)
    assert caught.value.code == ErrorCode.SOURCE_MISSING
