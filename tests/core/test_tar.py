"""What is in a tar archive."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.tar import (
    BLOCK_BYTES,
    DamagedTarError,
    UnendedTarError,
    files_of,
    is_header_of,
    tar_members,
)

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def packed(files, tar_format=tarfile.PAX_FORMAT, **fields):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def header(name=b"a.png", size=b"00000000001\0", kind=b"0", magic=b"ustar\x0000", checksum=None):
    block = bytearray(BLOCK_BYTES)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257 : 257 + len(magic)] = magic
    block[148:156] = b" " * 8
    stated = sum(block) if checksum is None else checksum(block)
    block[148:156] = f"{stated:06o}\0 ".encode()
    return bytes(block)


def content(data):
    return data.ljust(-(-len(data) // BLOCK_BYTES) * BLOCK_BYTES, b"\0")


END_MARK = bytes(2 * BLOCK_BYTES)


def found(data):
    return list(tar_members(io.BytesIO(data + END_MARK)))


def found_until_damage(data):
    """The names of the members, and the complaint; "" without one."""
    names = []
    try:
        for member in tar_members(io.BytesIO(data)):
            names.append(member.name)
    except DamagedTarError as error:
        return names, str(error)
    return names, ""


@pytest.mark.parametrize("tar_format", FORMATS)
@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "d" * 90 + "/" + "n" * 90 + ".png",
        "../up.png",
        "/abs.png",
        "b\\c.png",
        "a::b\n.png",
    ],
)
def test_members_are_where_the_standard_library_finds_them(tar_format, name):
    data = packed({name: b"x" * 700, "z.png": b""}, tar_format, mtime=1_700_000_000)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        wanted = [(each.name, each.offset_data, each.size) for each in archive]
    members = found(data)
    assert [(each.name, each.offset_bytes, each.size_bytes) for each in members] == wanted
    assert {each.modified for each in members} == {"1700000000"}
    assert all(each.is_regular for each in members)


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_kept(tar_format):
    names = ["é" * 200 + ".png", "😀.png", "x" * 3000]
    data = packed(dict.fromkeys(names, b"1"), tar_format)
    assert [each.name for each in found(data)] == names


def test_the_old_form_is_read():
    data = header(kind=b"\0", magic=b"") + content(b"1") + header(b"dir/", kind=b"\0", magic=b"")
    data += header(b"b.png", kind=b"7", magic=b"") + content(b"2")
    members = found(data)
    assert [(each.name, each.is_regular) for each in members] == [
        ("a.png", True),
        ("dir/", False),
        ("b.png", True),
    ]
    assert [each.offset_bytes for each in members] == [512, 1536, 2048]


def test_names_lose_the_dot_in_front():
    assert [each.name for each in found(packed({"./a/b.png": b"1"}))] == ["a/b.png"]


def test_a_name_that_is_no_utf8_keeps_its_bytes():
    data = header(b"caf\xe9.png") + content(b"1")
    assert found(data)[0].name.encode(errors="surrogateescape") == b"caf\xe9.png"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
)
def test_links_folders_and_devices_are_no_files_and_have_no_content(kind):
    data = header(b"x", kind=kind, size=b"00000007777\0") + header(b"a.png") + content(b"1")
    assert [(each.name, each.is_regular) for each in found(data)] == [
        ("x", False),
        ("a.png", True),
    ]


def linked(**links):
    """One file `a.png` behind links of a type and a target."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, (kind, target) in links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
        info = tarfile.TarInfo("a.png")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"1"))
    return files_of(found(file.getvalue()))


def test_links_stand_for_the_file_that_they_lead_to():
    files, lost = linked(hard=(tarfile.LNKTYPE, "./a.png"), soft=(tarfile.SYMTYPE, "x/../hard"))
    assert [each.name for each in files] == ["hard", "soft", "a.png"]
    assert len({each.offset_bytes for each in files}) == 1
    assert lost == []


def test_links_that_lead_nowhere_are_named():
    names = {"round": "round", "out": "../a.png", "none": "b.png"}
    files, lost = linked(**{name: (tarfile.SYMTYPE, target) for name, target in names.items()})
    assert [each.name for each in files] == ["a.png"]
    assert lost == ["round", "out", "none"]


def test_files_without_links_are_all_there_is():
    files, lost = linked()
    assert ([each.name for each in files], lost) == (["a.png"], [])


def test_a_link_with_a_long_target_does_not_change_the_next_name():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 300
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("b.png"))
    assert [each.name for each in found(file.getvalue())] == ["link", "b.png"]


def test_the_size_and_time_of_an_extended_header_count():
    records = b"9 size=3\n19 mtime=12345.678\n"
    data = header(b"x", kind=b"x", size=b"%011o\0" % len(records)) + content(records)
    data += (
        header(b"a.png", size=b"00000000000\0") + content(b"abc") + header(b"b.png") + content(b"1")
    )
    members = found(data)
    assert [(each.name, each.size_bytes) for each in members] == [("a.png", 3), ("b.png", 1)]
    assert members[0].modified == "12345.678"


def test_defaults_for_the_whole_archive_are_passed_over():
    data = header(b"g", kind=b"g", size=b"%011o\0" % 16) + content(b"16 comment=abcd\n")
    assert [each.name for each in found(data + header() + content(b"1"))] == ["a.png"]


def test_sparse_files_are_no_files_in_one_piece():
    first = bytearray(header(b"s.png", kind=b"S"))
    first[482] = 1
    first[148:156] = b" " * 8
    first[148:156] = f"{sum(first):06o}\0 ".encode()
    more = bytearray(BLOCK_BYTES)
    more[504] = 1
    gnu = bytes(first) + bytes(more) + bytes(BLOCK_BYTES) + content(b"1")
    records = b"22 GNU.sparse.major=1\n"
    pax = header(b"x", kind=b"x", size=b"%011o\0" % len(records)) + content(records)
    pax += header(b"p.png") + content(b"1")
    members = found(gnu + pax + header(b"a.png") + content(b"1"))
    assert [(each.name, each.is_regular) for each in members] == [
        ("s.png", False),
        ("p.png", False),
        ("a.png", True),
    ]


def test_sums_of_signed_bytes_are_right_too():
    def signed(block):
        return sum(each - 256 if each > 127 else each for each in block)

    data = header(b"caf\xc3\xa9.png", checksum=signed) + content(b"1")
    assert [each.name for each in found(data)] == ["café.png"]


def test_sizes_in_base_256_are_read():
    big = b"\x80" + (3).to_bytes(11, "big")
    assert found(header(size=big) + content(b"abc"))[0].size_bytes == 3


@pytest.mark.parametrize("data", [content(b"1"), b"1"])
def test_an_archive_without_an_end_mark_may_be_cut_off(data):
    members = tar_members(io.BytesIO(header() + data))
    assert next(members).name == "a.png"
    with pytest.raises(UnendedTarError, match="no end mark"):
        next(members)


def test_a_member_whose_content_is_cut_off_is_the_last_one():
    data = header(size=b"00000002000\0") + bytes(700)
    assert found_until_damage(data) == (["a.png"], "")


def test_an_empty_archive_has_no_member():
    assert found(bytes(10240)) == []


def test_archives_written_one_behind_the_other_are_read_as_one():
    files = [packed({name: b"1"}) for name in ("a.png", "b.png", "c.png")]
    assert [each.name for each in found(b"".join(files))] == ["a.png", "b.png", "c.png"]


def test_damage_behind_zeros_is_told():
    names, cause = found_until_damage(packed({"a.png": b"1"}) + b"x" * BLOCK_BYTES)
    assert names == ["a.png"]
    assert cause


def test_zeros_without_end_are_the_end():
    """What a preallocated file ends in is not read through."""
    data = packed({"a.png": b"1"}) + bytes(5 * 1024 * 1024) + header()
    assert found_until_damage(data) == (["a.png"], "")


@pytest.mark.parametrize(
    "behind",
    [
        b"short",
        b"x" * BLOCK_BYTES,
        header(size=b"\xff" * 12),
        header(size=b"\xff" * 11 + b"\x00"),
        header(size=b"\x80" + b"\xff" * 11),
        header(size=b"-0000000001\0") + content(b"1"),
        header(size=b"9") + content(b"1"),
        header(b"x", kind=b"x", size=b"77777777777\0") + content(b"1"),
        header(b"x", kind=b"x", size=b"00000001000\0") + b"1",
        header(b"x", kind=b"x", size=b"\xff" * 12) + content(b"1"),
        header(b"x", kind=b"x", size=b"00000000007\0") + content(b"no text"),
        header(b"x", kind=b"x", size=b"00000000007\0") + content(b"2 a=bcd"),
        header(b"x", kind=b"x", size=b"%011o\0" % 11) + content(b"11 size=-5\n") + header(),
        header(b"x", kind=b"x", size=b"%011o\0" % 8) + content(b"8 a=bcd\n"),
        header(b"L", kind=b"L", size=b"00000000005\0") + content(b"a.png"),
        header(b"s", kind=b"S", size=b"\xff" * 12),
    ],
)
def test_damage_is_told_behind_what_is_whole(behind):
    names, cause = found_until_damage(header(b"whole.png") + content(b"1") + behind)
    assert names == ["whole.png"]
    assert cause


def test_a_map_of_a_sparse_file_that_is_cut_off_is_damage():
    first = bytearray(header(b"s.png", kind=b"S"))
    first[482] = 1
    first[148:156] = b" " * 8
    first[148:156] = f"{sum(first):06o}\0 ".encode()
    assert found_until_damage(bytes(first)) == ([], "a header is cut off")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + bytes(600), b"\x1f\x8b" * 400])
def test_what_is_no_archive_is_damage_from_the_beginning(data):
    assert found_until_damage(data)[0] == []


@pytest.mark.parametrize("tar_format", FORMATS)
def test_a_cut_at_any_block_leaves_what_has_a_header_and_is_told(tar_format):
    data = packed({"a.png": b"x" * 600, "é" * 60 + "/b.png": b"y" * 600}, tar_format)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        starts = [each.offset_data for each in archive]
        ends = [each.offset_data + each.size for each in archive]
    for cut in range(0, len(data), BLOCK_BYTES):
        names, cause = found_until_damage(data[:cut])
        assert len(names) == sum(start <= cut for start in starts)
        is_last_cut_off = bool(names) and ends[len(names) - 1] > cut
        has_end = cut > -(-ends[-1] // BLOCK_BYTES) * BLOCK_BYTES
        assert (cause == "") == (is_last_cut_off or has_end)


@given(st.binary(max_size=2000))
def test_any_bytes_end_in_members_or_damage(data):
    names, cause = found_until_damage(header() + content(b"1") + b"\1" + data)
    assert names == ["a.png"]
    assert cause


def test_a_header_is_known_by_its_size():
    block = header(size=b"00000000005\0")
    assert is_header_of(block, 5)
    assert not is_header_of(block, 6)
    assert not is_header_of(b"x" * BLOCK_BYTES, 5)
    assert not is_header_of(b"", 0)
