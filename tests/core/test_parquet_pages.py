"""What the headers of Parquet pages tell before a page is unpacked."""

import io

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from vision_pipeline.core.parquet_pages import DamagedPageError, Page, pages_of

DATA, INDEX, DICTIONARY, DATA_2 = 0, 1, 2, 3


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def integer(number):
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def header(kind, unpacked, stored, *within):
    """A page's header; `within` is appended field by field, each with its own head."""
    fields = [b"\x15" + integer(kind), b"\x15" + integer(unpacked), b"\x15" + integer(stored)]
    return b"".join(fields + list(within)) + b"\x00"


def data_header(rows, *others, step=2):
    return bytes([step << 4 | 12]) + b"\x15" + integer(rows) + b"".join(others) + b"\x00"


def pages(data, rows, *, start=0, end=None):
    read = lambda at, size: data[at : at + size]  # noqa: E731
    return list(pages_of(read, start=start, end=len(data) if end is None else end, rows=rows))


def test_pages_follow_each_other_until_all_rows_are_seen():
    first = header(DATA, 700, 5, data_header(30)) + b"12345"
    second = header(DATA_2, 900, 2, data_header(12, step=5)) + b"12"
    assert pages(first + second + b"rubbish", 42) == [Page(30, 700), Page(12, 900)]
    assert pages(first + second + b"rubbish", 99, end=len(first)) == [Page(30, 700)]


def test_a_page_that_is_stored_in_more_than_it_unpacks_to_counts_as_stored():
    assert pages(header(DATA, 3, 5, data_header(1)) + b"12345", 1) == [Page(1, 5)]


@pytest.mark.parametrize("kind", [INDEX, DICTIONARY, 99])
def test_pages_without_rows_count_no_rows_whatever_they_claim(kind):
    claimed = header(kind, 50, 0, data_header(10**6))
    bomb = header(DATA, 2**31 - 1, 0, data_header(1))
    assert pages(claimed + bomb, 1) == [Page(0, 50), Page(1, 2**31 - 1)]


def test_what_else_stands_in_a_header_is_stepped_over():
    others = [
        b"\x18" + varint(3) + b"min",  # a text
        b"\x11",  # true, without a byte of its own
        b"\x13\x07",  # one byte
        b"\x14" + varint(9),
        b"\x16" + varint(2**40),
        b"\x17" + bytes(8),
        b"\x05" + integer(77) + integer(5),  # a field that gives its number in full
    ]
    assert pages(header(DATA, 9, 0, data_header(4, *others)), 4) == [Page(4, 9)]


def test_a_size_that_is_given_again_in_another_type_is_not_taken():
    again = b"\x06" + integer(2) + varint(8)  # field 2 as 64 bits
    assert pages(header(DATA, 9000, 0, again, data_header(4, step=3)), 4) == [Page(4, 9000)]


def test_a_header_longer_than_the_first_read_is_read_on():
    long = b"\x18" + varint(200_000) + bytes(200_000)
    assert pages(header(DATA, 9, 0, data_header(4, long)), 4) == [Page(4, 9)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x15",
        header(DATA, 9, -1, data_header(1)),
        header(DATA, -9, 1, data_header(1)),
        header(DATA, 9, 1, data_header(-1)),
        b"\x15\x00\x00",
        header(DATA, 9, 1, b"\x19\x00"),  # a list
        header(DATA, 9, 1, b"\x1c" * 6 + b"\x00" * 6),
        b"\x15" + b"\xff" * 20,
        b"\x18" + varint(2**40),
    ],
)
def test_what_is_no_header_is_damage(data):
    with pytest.raises(DamagedPageError):
        pages(data, 1, end=1000)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False, "compression": "none"},
        {"data_page_version": "2.0", "compression": "zstd"},
        {"column_encoding": {"image": "DELTA_BYTE_ARRAY"}, "use_dictionary": False},
    ],
)
def test_the_pages_of_a_real_file_are_all_of_its_rows(options):
    images = [None if row % 7 == 0 else bytes([row % 50]) * 900 for row in range(5000)]
    file = io.BytesIO()
    table = pa.table({"image": pa.array(images, pa.binary())})
    pa_parquet.write_table(table, file, write_page_checksum=True, **options)
    chunk = pa_parquet.ParquetFile(file).metadata.row_group(0).column(0)
    start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
    found = pages(
        file.getvalue(), chunk.num_values, start=start, end=start + chunk.total_compressed_size
    )
    assert sum(page.rows for page in found) == 5000
    headers_bytes = 4000 * len(found)  # with the smallest and the largest value, twice
    unpacked_bytes = sum(page.size_bytes for page in found)
    assert unpacked_bytes <= chunk.total_uncompressed_size <= unpacked_bytes + headers_bytes
