"""Reading members of zip archives within a bound."""

import io
import tracemalloc
import zipfile

import pytest

from vision_pipeline.core.zip import ZIP_DAMAGE, is_encrypted, read_member

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def archive_of(content, method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.png", content)
    return zipfile.ZipFile(file)


@pytest.mark.parametrize("method", METHODS)
def test_content_is_read_whole_and_not_beyond_the_bound(method):
    content = bytes(range(256)) * 100
    with archive_of(content, method) as archive:
        [member] = archive.infolist()
        assert not is_encrypted(member)
        assert read_member(archive, member, most=10**6) == content
        assert read_member(archive, member, most=len(content)) == content
        assert read_member(archive, member, most=1000) == content[:1000]
        assert read_member(archive, member, most=0) == b""


@pytest.mark.parametrize("method", METHODS)
def test_a_member_that_inflates_without_end_takes_no_memory_beyond_a_few_megabytes(method):
    with archive_of(bytes(60_000_000), method) as archive:
        [member] = archive.infolist()
        tracemalloc.start()
        try:
            assert read_member(archive, member, most=1001) == bytes(1001)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < 25_000_000


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stated_bytes", [10, 30_000])
def test_a_size_in_the_directory_that_is_wrong_is_damage(method, stated_bytes):
    with archive_of(bytes(range(256)) * 100, method) as archive:
        [member] = archive.infolist()
        member.file_size = stated_bytes
        with pytest.raises(ZIP_DAMAGE):
            read_member(archive, member, most=10**6)


@pytest.mark.parametrize("method", METHODS)
def test_no_more_is_inflated_than_is_stated(method):
    with archive_of(bytes(60_000_000), method) as archive:
        [member] = archive.infolist()
        member.file_size = 5000
        tracemalloc.start()
        try:
            with pytest.raises(ZIP_DAMAGE):
                read_member(archive, member, most=10**8)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < 25_000_000


@pytest.mark.parametrize("method", METHODS)
def test_content_that_was_changed_or_cut_is_damage(method):
    content = bytes(range(256)) * 100
    with archive_of(content, method) as archive:
        [member] = archive.infolist()
        start = member.header_offset + 30 + len(member.filename) + len(member.extra)
        data = bytearray(archive.fp.getvalue())
        data[start + 20] ^= 0xFF
    with zipfile.ZipFile(io.BytesIO(data)) as archive, pytest.raises(ZIP_DAMAGE):
        read_member(archive, archive.infolist()[0], most=10**6)
    with archive_of(content, method) as archive:
        [member] = archive.infolist()
        member.compress_size -= 20
        with pytest.raises(ZIP_DAMAGE):
            read_member(archive, member, most=10**6)


def test_a_wrong_crc_is_damage_where_the_content_itself_is_sound():
    for method in METHODS:
        with archive_of(b"content", method) as archive:
            [member] = archive.infolist()
            member.CRC ^= 1
            with pytest.raises(ZIP_DAMAGE, match="CRC"):
                read_member(archive, member, most=10**6)
