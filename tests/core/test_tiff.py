"""Which directories of a TIFF file are pages."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vision_pipeline.core.tiff import TiffPages, tiff_pages

REDUCED, PAGE, MASK = 1, 2, 4


def tiff(kinds, *, order="<", is_big=False, field_type=4, last=0):
    """A chain of directories, each with a NewSubfileType (None: without); no pixels."""
    pointer, count, filling = ("Q", "Q", "Q") if is_big else ("I", "H", "I")
    first = 16 if is_big else 8
    mark = b"II" if order == "<" else b"MM"
    if is_big:
        head = mark + struct.pack(f"{order}HHHQ", 43, 8, 0, first)
    else:
        head = mark + struct.pack(f"{order}HI", 42, first)
    body = b""
    for number, kind in enumerate(kinds, start=1):
        entries = [(256, 4, 100)] + ([] if kind is None else [(254, field_type, kind)])
        directory = struct.pack(f"{order}{count}", len(entries))
        for tag, form, value in entries:
            directory += struct.pack(f"{order}HH{filling}", tag, form, 1)
            small = struct.pack(f"{order}{'H' if form == 3 else 'I'}", value)
            directory += small.ljust(8 if is_big else 4, b"\0")
        behind = first + len(body) + len(directory) + struct.calcsize(pointer)
        following = behind if number < len(kinds) else last
        body += directory + struct.pack(f"{order}{pointer}", following)
    return head + body


def frames(data, most=100):
    return tiff_pages(BytesIO(data), most=most).frames


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("field_type", [3, 4])
def test_copies_and_masks_are_no_pages_in_any_byte_order(order, is_big, field_type):
    kinds = [0, REDUCED, PAGE, PAGE | MASK, REDUCED | MASK, None, PAGE]
    data = tiff(kinds, order=order, is_big=is_big, field_type=field_type)
    assert frames(data) == [0, 2, 5, 6]


def test_the_pages_of_a_real_file_are_those_that_its_writer_counts():
    pages = [Image.new("L", (4, 4), shade) for shade in (0, 100, 200)]
    file = BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    assert tiff_pages(file, most=100) == TiffPages([0, 1, 2])


def test_a_file_that_holds_nothing_but_a_copy_is_one_image():
    assert frames(tiff([REDUCED])) == [0]


@pytest.mark.parametrize(
    "data", [b"", b"II", b"\xff\xd8\xff\xe0", b"II*\0", b"II*\0\x08\0\0\0\x01"]
)
def test_what_is_no_tiff_or_ends_at_once_is_one_image(data):
    assert frames(data) == [0]


def test_no_more_than_one_page_too_many_is_looked_for():
    data = tiff([0] * 50)
    assert len(frames(data, most=10)) == 11
    assert len(frames(data, most=50)) == 50


def test_copies_do_not_use_up_the_number_of_pages():
    data = tiff([0, REDUCED, REDUCED, REDUCED] * 10)
    assert frames(data, most=10) == list(range(0, 40, 4))


def test_a_chain_of_copies_without_an_end_is_left_off():
    assert frames(tiff([0] + [REDUCED] * 1000), most=1) == [0]
    assert tiff_pages(Endless(), most=5).frames == [0]


class Endless(BytesIO):
    """A file in which every directory is a copy and leads to a further one."""

    def __init__(self):
        super().__init__()
        self.at = 0

    def seek(self, offset, whence=0):
        self.at = offset
        return 2**32 if whence else offset

    def read(self, size=-1):
        if self.at == 0:
            return b"II*\0"
        if size == 4:
            return struct.pack("<I", self.at + 18)
        if size == 2:
            return struct.pack("<H", 1)
        return struct.pack("<HHIII", 254, 4, 1, REDUCED, self.at + 18)


def test_a_chain_that_leads_round_ends_where_it_began():
    assert frames(tiff([0, 0, 0], last=8)) == [0, 1, 2]


def test_a_file_cut_off_in_its_pages_counts_the_missing_one_as_a_page():
    data = tiff([0, 0, 0, 0])
    assert frames(data[:-1]) == [0, 1, 2, 3]
    assert frames(tiff([0, 0, 0], last=10**6)) == [0, 1, 2, 3]


@pytest.mark.parametrize("last", [35, 100, 500])
def test_a_second_directory_that_may_have_been_cut_off_is_a_page(last):
    data = tiff([0], last=last)
    assert len(data) == 38
    assert tiff_pages(BytesIO(data), most=100) == TiffPages([0, 1])


def test_a_directory_that_is_cut_off_anywhere_is_a_page():
    data = tiff([0, 0])
    for end in range(38, len(data)):
        assert tiff_pages(BytesIO(data[:end]), most=100) == TiffPages([0, 1])


@pytest.mark.parametrize("last", [100, 10**6])
def test_rubbish_behind_the_first_directory_is_no_page_but_told(last):
    data = tiff([0], last=last).ljust(500, b"\xff")
    assert tiff_pages(BytesIO(data), most=100) == TiffPages([0], leads_astray=True)


def test_a_directory_with_more_entries_than_any_is_damage():
    data = bytearray(tiff([0, 0]))
    data[8:10] = b"\xff\xff"
    assert frames(bytes(data)) == [0]


def test_offsets_that_no_file_has_are_damage():
    assert frames(b"II+\0\x08\0\0\0" + b"\xff" * 8) == [0]
    assert frames(tiff([0], is_big=True, last=2**64 - 1)) == [0]


@given(st.binary(max_size=200), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b""]))
def test_any_bytes_give_ascending_frames_and_at_least_one(data, mark):
    found = frames(mark + data, most=5)
    assert found
    assert found == sorted(set(found))
    assert len(found) <= 6
