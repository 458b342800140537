"""Reading the bytes of images."""

import base64
import os
from pathlib import Path

import fsspec
import pytest

from vision_pipeline.adapters.images import ImageReader
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.records import ImageRef

BODY = bytes(range(256))


async def no_fetch(url):
    raise AssertionError(url)


def reader(max_bytes=1000):
    return ImageReader(no_fetch, max_bytes=max_bytes)


async def code_of(ref, reading=None):
    with pytest.raises(ItemError) as caught:
        await (reading or reader()).read(ref if isinstance(ref, ImageRef) else ImageRef(str(ref)))
    return caught.value.code


async def test_a_local_file_is_read(tmp_path):
    (tmp_path / "a b%41.png").write_bytes(BODY)
    assert await reader().read(ImageRef(str(tmp_path / "a b%41.png"))) == BODY
    assert await reader().read(ImageRef((tmp_path / "a b%41.png").as_uri())) == BODY


@pytest.fixture
def odd_folder(tmp_path):
    """A folder with a file whose name is Latin-1."""
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(BODY)
    except OSError:
        pytest.skip("the file system refuses such names")
    return tmp_path


async def test_a_name_that_is_no_utf8_is_read_through_its_file_url(odd_folder):
    assert await reader().read(ImageRef(f"file://{odd_folder}/caf%E9.png")) == BODY


@pytest.mark.parametrize("uri", ["", "/nowhere/at/all.png", "/nul\x00.png", "/" + "x" * 5000])
async def test_what_is_not_there_is_a_missing_source(uri):
    assert await code_of(uri) == ErrorCode.SOURCE_MISSING


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
    assert await reader(256).read(ImageRef(str(path))) == BODY


async def test_a_remote_file_is_read():
    with fsspec.open("memory://remote/a.png", "wb") as file:
        file.write(BODY)
    with fsspec.open("memory://remote/empty.png", "wb"):
        pass
    assert await reader().read(ImageRef("memory://remote/a.png")) == BODY
    assert await reader().read(ImageRef("memory://remote/a.png", 256)) == BODY
    assert await reader().read(ImageRef("memory://remote/empty.png")) == b""


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
        return url.encode()

    url = f"{scheme}://example.org/a.png?x=1"
    assert await ImageReader(fetch, max_bytes=9).read(ImageRef(url)) == url.encode()


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
    assert await reader().read(ImageRef(url)) == wanted


@pytest.mark.parametrize("url", ["data:image/png;base64", "data:;base64,A", "data:;base64,A*EC"])
async def test_bad_data_urls_are_unreadable(url):
    assert await code_of(url) == ErrorCode.UNREADABLE_IMAGE


async def test_a_chain_that_ends_at_an_address_is_blocked():
    assert await code_of("memory://a.png::http://127.0.0.1/x") == ErrorCode.BLOCKED_URL
