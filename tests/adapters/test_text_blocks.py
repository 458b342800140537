"""Text manifests in small blocks: what is read is what one large block would give."""

import gzip
import json
from datetime import date
from itertools import chain

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_pipeline.adapters.sources import text_blocks
from vision_pipeline.adapters.sources.tables import read_table
from vision_pipeline.core.errors import SourceError

LARGE = 1 << 20
SMALL = (64, 256, 1024, LARGE)

words = st.text("ab,\"\n\t ;'é0", max_size=8)
values = st.one_of(
    st.none(), st.integers(-9, 10**6), st.floats(-9, 9), st.booleans(), st.dates(), words
)


def spread(runs):
    return chain.from_iterable([value] * count for value, count in runs)


# Runs of one kind of value: types are then guessed from a beginning that another run belies.
columns = st.lists(st.tuples(values, st.integers(1, 40)), min_size=1, max_size=4)
pairs = st.tuples(columns, columns).map(lambda both: list(zip(*map(spread, both), strict=False)))


def table_of(path, sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_blocks, "BLOCK_SIZES", sizes)
        try:
            for table in read_table(str(path), image_column="image", column_types={}):
                return pa.Table.from_batches(table.batches, table.schema)
        except SourceError as error:
            return str(error)


def as_csv(listed):
    def cell(value):
        if value is None:
            return ""
        text = str(value)
        return '"{}"'.format(text.replace('"', '""')) if set(text) & set(',"\n') else text

    lines = [f"i{n},{cell(a)},{cell(b)}\n" for n, (a, b) in enumerate(listed)]
    return "image,a,b\n" + "".join(lines)


def as_json(listed):
    def cell(value):
        return value.isoformat() if isinstance(value, date) else value

    records = [{"image": f"i{n}", "a": cell(a), "b": cell(b)} for n, (a, b) in enumerate(listed)]
    return "".join(f"{json.dumps(record)}\n" for record in records)


@settings(deadline=None)
@given(pairs)
def test_a_csv_is_read_alike_in_small_blocks_and_in_a_large_one(tmp_path_factory, listed):
    path = tmp_path_factory.mktemp("csv") / "m.csv"
    path.write_text(as_csv(listed))
    assert table_of(path, SMALL) == table_of(path, (LARGE,))


@settings(deadline=None)
@given(pairs)
def test_json_lines_are_read_alike_in_small_blocks_and_in_a_large_one(tmp_path_factory, listed):
    path = tmp_path_factory.mktemp("json") / "m.jsonl"
    path.write_text(as_json(listed))
    assert table_of(path, SMALL) == table_of(path, (LARGE,))


def test_a_row_that_is_longer_than_a_block_is_read_in_a_larger_one(tmp_path):
    lines = ["image,note\n", *(f"a{n},b\n" for n in range(100))]
    lines[60] = 'a59,"' + "one line\nand another, " * 30 + '"\n'
    with gzip.open(tmp_path / "m.csv.gz", "wt") as file:
        file.writelines(lines)
    table = table_of(tmp_path / "m.csv.gz", SMALL)
    assert table["image"].to_pylist() == [f"a{n}" for n in range(100)]
    assert table["note"][59].as_py() == "one line\nand another, " * 30


def test_a_row_that_cannot_be_read_is_named_by_its_place_in_the_file(tmp_path):
    text = "image,note\n" + "a,b\n" * 100 + "a,b,c\n" + "a,b\n" * 100
    (tmp_path / "m.csv").write_text(text)
    assert "Row #102: Expected 2 columns, got 3" in table_of(tmp_path / "m.csv", SMALL)


def test_a_column_that_is_empty_at_first_has_the_type_of_what_comes_later(tmp_path):
    text = "image,n\n" + "a,\n" * 100 + "a,1\n" + "a,\n" * 100 + "a,0.5\n"
    (tmp_path / "m.csv").write_text(text)
    table = table_of(tmp_path / "m.csv", SMALL)
    assert table.schema.field("n").type == pa.float64()
    assert table.num_rows == 202
