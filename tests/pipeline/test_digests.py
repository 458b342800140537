import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.pipeline import digests
from vision_pipeline.pipeline.digests import Digests

prints = st.lists(st.binary(min_size=16, max_size=16).map(bytes.hex), unique=True)
# Such that share their first half, or differ in one bit.
close = st.lists(
    st.sampled_from([f"{a}{b}" for a in ("0" * 16, "f" * 16) for b in ("0" * 16, "1" + "0" * 15)])
)


def chunked(values):
    return pa.chunked_array([pa.array(values[:1], pa.string()), pa.array(values[1:], pa.string())])


@given(known=prints, asked=prints)
def test_what_is_known_is_found_in_its_row_and_nothing_else(known, asked):
    found = Digests(chunked(known)).find(chunked([*asked, *known])).tolist()
    assert found == [known.index(each) if each in known else -1 for each in [*asked, *known]]


@given(asked=close)
def test_both_halves_count(asked):
    known = ["0" * 32]
    found = Digests(chunked(known)).find(chunked(asked)).tolist()
    assert found == [0 if each in known else -1 for each in asked]


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_long_columns_are_read_in_parts(monkeypatch, at_once):
    monkeypatch.setattr(digests, "_AT_ONCE", at_once)
    known = [f"{number:016x}" * 2 for number in range(7)]
    assert Digests(chunked(known)).find(chunked(known[::-1])).tolist() == list(range(7))[::-1]


def test_nothing_is_found_where_nothing_is_known():
    assert Digests(chunked([])).find(chunked(["0" * 32])).tolist() == [-1]
    assert Digests(chunked([])).find(chunked([])).tolist() == []
