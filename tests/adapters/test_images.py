"""Reading the bytes of images."""

import base64
import os
from pathlib import Path

import fsspec
import pytest

from tests.adapters.archiving import PACK
from vision_pipeline.adapters.images import (
    ImageReader,
    TarReader,
    ZipReader,
    is_changed_in_store,
)
from vision_pipeline.adapters.images.parquet_rows import PathInsteadError
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.records import ImageRef, SourceImage

BODY = bytes(range(256))


class MemoryMembers:
    """Members by their URI, read as a `MemberReader` reads."""

    def __init__(self, contents):
        self.contents = contents

    def read(self, member, ref, *, max_bytes):
        if member.uri not in self.contents:
            raise ItemError(ErrorCode.SOURCE_MISSING, "no such member")
        return self.contents[member.uri][: max_bytes + 1]


class NoMembers:
    """Archives that nobody may open."""

    def read(self, member, ref, *, max_bytes):
        raise AssertionError(member)


async def no_fetch(url):
    raise AssertionError(url)


def reader(max_bytes=1000, **settings):
    return ImageReader(no_fetch, max_bytes=max_bytes, **settings)


async def data_of(ref, reading=None):
    ref = ref if isinstance(ref, ImageRef) else ImageRef(str(ref))
    return (await (reading or reader()).read(ref)).data


async def code_of(ref, reading=None):
    with pytest.raises(ItemError) as caught:
        await (reading or reader()).read(ref if isinstance(ref, ImageRef) else ImageRef(str(ref)))
    return caught.value.code


async def test_a_local_file_is_read(tmp_path):
    (tmp_path / "a b%41.png").write_bytes(BODY)
    assert await data_of(tmp_path / "a b%41.png") == BODY
    assert await data_of((tmp_path / "a b%41.png").as_uri()) == BODY


async def test_what_the_source_knew_of_the_version_goes_with_the_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(BODY)
    ref = ImageRef(str(tmp_path / "a.png"), version="17")
    assert await reader().read(ref) == SourceImage(BODY, "17")


@pytest.fixture
def odd_folder(tmp_path):
    """A folder with a file whose name is Latin-1."""
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(BODY)
    except OSError:
        pytest.skip("the file system refuses such names")
    return tmp_path


async def test_a_name_that_is_no_utf8_is_read_through_its_file_url(odd_folder):
    assert await data_of(f"file://{odd_folder}/caf%E9.png") == BODY


@pytest.mark.parametrize("uri", ["", "/nowhere/at/all.png", "/nul\x00.png", "/" + "x" * 5000])
async def test_what_is_not_there_is_a_missing_source(uri):
    assert await code_of(uri) == ErrorCode.SOURCE_MISSING


async def test_space_around_a_name_is_made_visible(tmp_path):
    with pytest.raises(ItemError, match=r"' a\.png ', with space"):
        await reader().read(ImageRef(f"{tmp_path}/ a.png "))


async def test_a_file_that_may_not_be_read_is_a_missing_source_with_the_cause(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(BODY)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ItemError, match="Permission denied"):
        await reader().read(ImageRef(str(path)))


async def test_what_is_no_regular_file_never_blocks(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", "/dev/zero"):
        assert await code_of(path) == ErrorCode.SOURCE_MISSING


async def test_sizes_are_limited_everywhere(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(BODY)
    with fsspec.open("memory://limits/a.png", "wb") as file:
        file.write(BODY)
    data = "data:image/png;base64," + base64.b64encode(BODY).decode()
    for uri in (path, "memory://limits/a.png", data, "data:," + "x" * 300):
        assert await code_of(uri, reader(255)) == ErrorCode.IMAGE_TOO_LARGE
    assert await data_of(path, reader(256)) == BODY


async def test_a_remote_file_is_read():
    with fsspec.open("memory://remote/a.png", "wb") as file:
        file.write(BODY)
    with fsspec.open("memory://remote/empty.png", "wb"):
        pass
    assert await data_of("memory://remote/a.png") == BODY
    assert await data_of(ImageRef("memory://remote/a.png", 256)) == BODY
    assert await data_of("memory://remote/empty.png") == b""


async def test_a_remote_file_that_no_source_has_listed_is_read_with_its_version():
    with fsspec.open("memory://remote/a.png", "wb") as file:
        file.write(BODY)
    version = fsspec.filesystem("memory").info("/remote/a.png")["created"].isoformat()
    assert (await reader().read(ImageRef("memory://remote/a.png"))).version == version
    assert not await is_changed_in_store("memory://remote/a.png", version)
    assert await is_changed_in_store("memory://remote/a.png", "another")
    assert await is_changed_in_store("memory://remote/gone.png", version)
    assert not await is_changed_in_store("nosuch://remote/a.png", version)  # nobody can tell


async def test_a_remote_file_that_has_grown_is_not_read_whole():
    with fsspec.open("memory://remote/grown.png", "wb") as file:
        file.write(BODY)
    assert await code_of(ImageRef("memory://remote/grown.png", 10), reader(255)) == (
        ErrorCode.IMAGE_TOO_LARGE
    )


async def test_a_remote_file_that_cannot_be_had_is_a_missing_source():
    assert await code_of("memory://remote/none.png") == ErrorCode.SOURCE_MISSING


@pytest.mark.parametrize("uri", ["ftp://127.0.0.1/a.png", "sftp://10.0.0.1/a", "odd://a/b.png"])
async def test_a_scheme_that_could_lead_to_a_private_address_is_blocked(uri):
    assert await code_of(uri) == ErrorCode.BLOCKED_URL


async def test_where_private_addresses_are_allowed_an_unknown_scheme_is_a_missing_source():
    allowing = ImageReader(no_fetch, max_bytes=255, allow_private=True)
    assert await code_of("odd://a/b.png", allowing) == ErrorCode.SOURCE_MISSING


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
async def test_web_urls_go_to_the_fetcher(scheme):
    async def fetch(url):
        return SourceImage(url.encode(), "etag")

    url = f"{scheme}://example.org/a.png?x=1"
    found = await ImageReader(fetch, max_bytes=9).read(ImageRef(url, version="older"))
    assert found == SourceImage(url.encode(), "etag")


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("data:image/png;base64,AAEC", b"\x00\x01\x02"),
        ("data:image/png;base64,AAE", b"\x00\x01"),
        ("DATA:;charset=utf-8;BASE64,AA%45C", b"\x00\x01\x02"),
        ("data:;base64,-_8=", b"\xfb\xff"),
        ("data:;base64,AA\nEC ", b"\x00\x01\x02"),
        ("data:image/svg+xml,%3Csvg%20/%3E", b"<svg />"),
        ("data:,", b""),
    ],
)
async def test_data_urls_are_decoded(url, wanted):
    assert await data_of(url) == wanted


@pytest.mark.parametrize("url", ["data:image/png;base64", "data:;base64,A", "data:;base64,A*EC"])
async def test_bad_data_urls_are_unreadable(url):
    assert await code_of(url) == ErrorCode.UNREADABLE_IMAGE


async def test_a_chain_that_ends_at_an_address_is_blocked():
    assert await code_of("memory://a.png::http://127.0.0.1/x") == ErrorCode.BLOCKED_URL


# --- members of containers


@pytest.mark.parametrize(
    "uri",
    [
        "tar://a.png::/x.tar",
        "TAR://a::b.png::/x.tar",
        "tar://a.png::s3://b/x.tar",
        "tar://a::file:///x",
    ],
)
async def test_a_member_is_read_by_who_reads_its_kind_of_container(uri):
    members = {"tar": MemoryMembers({uri.replace("TAR", "tar"): BODY}), "zip": NoMembers()}
    image = await reader(members=members).read(ImageRef(uri, version="17"))
    assert image == SourceImage(BODY, "17")


class PathRows:
    """A table whose rows have no bytes, but paths."""

    def __init__(self, path):
        self.path = path

    def read(self, member, ref, *, max_bytes):
        raise PathInsteadError(0, self.path)


@pytest.mark.parametrize("in_url", [False, True])
@pytest.mark.parametrize(
    "path", ["./b c.png", "b c.png", "/FOLDER/b c.png", "file:///FOLDER/b%20c.png"]
)
async def test_a_row_without_bytes_leads_to_the_file_that_its_path_names(tmp_path, path, in_url):
    (tmp_path / "b c.png").write_bytes(BODY)
    table = tmp_path / "t.parquet"
    rows = PathRows(path.replace("/FOLDER", str(tmp_path)))
    uri = f"parquet://image/0::{table.as_uri() if in_url else table}"
    reading = reader(members={"parquet": rows})
    read = await reading.read(ImageRef(uri, version="7"))
    assert (read.data, read.version) == (BODY, "7")


async def test_a_row_without_bytes_leads_to_no_other_row_and_nowhere_else_than_a_manifest():
    for path, code in (
        ("parquet://image/0::/t.parquet", "source_missing"),
        ("none.png", "source_missing"),
        ("ftp://127.0.0.1/a.png", "blocked_url"),
    ):
        reading = reader(members={"parquet": PathRows(path)})
        with pytest.raises(ItemError, match="row 0 has no bytes, only the path") as caught:
            await reading.read(ImageRef("parquet://image/0::/nowhere/t.parquet"))
        assert caught.value.code == code


async def test_a_member_that_is_too_large_is_refused_unread_where_its_size_is_known():
    uri = "tar://a.png::/x.tar"
    members = {"tar": MemoryMembers({uri: BODY}), "zip": NoMembers()}
    assert await code_of(uri, reader(255, members=members)) == ErrorCode.IMAGE_TOO_LARGE
    assert await data_of(uri, reader(256, members=members)) == BODY
    large = ImageRef("zip://a.png::/x.zip", 256)
    assert await code_of(large, reader(255, members=members)) == ErrorCode.IMAGE_TOO_LARGE


async def test_what_the_reader_of_members_says_is_passed_on():
    members = {"tar": MemoryMembers({})}
    assert await code_of("tar://a::/x", reader(members=members)) == ErrorCode.SOURCE_MISSING


@pytest.mark.parametrize(
    "uri",
    [
        "zip://a.jpg::http://host/x.zip",
        "zip://a.jpg::https://host/x.zip",
        "zip://a.jpg::sftp://10.0.0.1/x.zip",
        "tar://x::zip://y::http://127.0.0.1/z",
        "parquet://image/0::odd://a/b",
    ],
)
async def test_a_member_whose_container_could_lead_to_a_private_address_is_blocked(uri):
    nobody = dict.fromkeys(["tar", "zip", "parquet"], NoMembers())
    assert await code_of(uri, reader(members=nobody)) == ErrorCode.BLOCKED_URL
    members = dict.fromkeys(["tar", "zip", "parquet"], MemoryMembers({uri: BODY}))
    assert await data_of(uri, reader(members=members, allow_private=True)) == BODY


@pytest.mark.parametrize(
    "uri",
    [
        "zip://a.jpg::http://169.254.169.254/x.zip",
        "zip://a.jpg::https://user@[fd00:ec2:0:0:0:0:0:254]:80/x.zip",
        "ftp://2852039166/a.jpg",
        "simplecache://x::http://169.254.169.254/a.jpg",
    ],
)
async def test_a_metadata_service_is_blocked_even_where_private_addresses_are_allowed(uri):
    nobody = {"zip": NoMembers()}
    assert await code_of(uri, reader(members=nobody, allow_private=True)) == ErrorCode.BLOCKED_URL


@pytest.mark.parametrize("name", ["a::http://127.0.0.1/y.jpg", "zip://x::s3://b/y.jpg", "::b.jpg"])
async def test_a_members_name_may_look_like_a_chain(tmp_path, name):
    archives = ZipReader()
    members = {"tar": TarReader(), "zip": archives}
    for scheme, pack in PACK.items():
        (tmp_path / f"x.{scheme}").write_bytes(pack({name: BODY}))
        uri = f"{scheme}://{name}::{tmp_path}/x.{scheme}"
        assert await data_of(uri, reader(members=members)) == BODY
    archives.close()


async def test_what_became_a_link_that_leaves_the_source_is_not_read(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(BODY)
    (tmp_path / "secret.tar").write_bytes(PACK["tar"]({"a.png": BODY}))
    (root / "a.png").symlink_to(tmp_path / "secret.png")
    (root / "x.tar").symlink_to(tmp_path / "secret.tar")
    (root / "folder").symlink_to(tmp_path)
    reading = reader(root=root, members={"tar": TarReader()})
    for uri in (
        root / "a.png",
        (root / "a.png").as_uri(),
        root / "folder" / "secret.png",
        f"tar://a.png::{root}/x.tar",
    ):
        assert await code_of(uri, reading) == ErrorCode.SOURCE_MISSING
    with pytest.raises(ItemError, match=r"source\.follow_links"):
        await reading.read(ImageRef(str(root / "a.png")))
    assert await data_of(root / "a.png") == BODY


async def test_links_within_the_source_are_read(tmp_path):
    (tmp_path / "a.png").write_bytes(BODY)
    (tmp_path / "b.png").symlink_to("a.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    reading = reader(root=tmp_path.resolve())
    assert await data_of(tmp_path / "b.png", reading) == BODY
    assert await code_of(tmp_path / "loop.png", reading) == ErrorCode.SOURCE_MISSING
    alone = reader(root=(tmp_path / "a.png").resolve())
    assert await data_of(tmp_path / "a.png", alone) == BODY


async def test_a_member_that_nobody_reads_is_blocked():
    assert await code_of("zip://a.jpg::/x.zip") == ErrorCode.BLOCKED_URL


async def test_members_of_real_archives_are_read(tmp_path):
    archives = ZipReader()
    members = {"tar": TarReader(), "zip": archives}
    for scheme, pack in PACK.items():
        (tmp_path / f"x.{scheme}").write_bytes(pack({"a.png": BODY}))
        uri = f"{scheme}://a.png::{tmp_path}/x.{scheme}"
        assert await data_of(uri, reader(members=members)) == BODY
        assert await code_of(uri, reader(255, members=members)) == ErrorCode.IMAGE_TOO_LARGE
    archives.close()
