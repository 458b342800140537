"""How deep JSON is nested."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.json_nesting import NestingMeter


def is_allowed(text, *, most, piece_bytes=10**6):
    meter = NestingMeter(most)
    data = text.encode()
    return all(
        meter.take(data[at : at + piece_bytes]) for at in range(0, len(data), piece_bytes)
    ), meter


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ('{"a": 1}', 1),
        ('{"a": [[1], [2], [{}]]}', 4),
        ('{"a": "[[[[{{{{"}', 1),
        ('{"a": "\\"[[[[", "b": "\\\\", "c": [1]}', 2),
        ('{"a": "b\\n"}', 1),
        ("]]]][[", 2),
        ('{"a":\n[\n[\n1]]}', 3),
        ('"never closed [[[\n[', 1),
    ],
)
def test_what_stands_in_texts_does_not_count(text, depth):
    for piece_bytes in (1, 3, 1000):
        assert is_allowed(text, most=depth, piece_bytes=piece_bytes)[0]
        assert not is_allowed(text, most=depth - 1, piece_bytes=piece_bytes)[0]


def test_the_line_is_told_where_it_becomes_too_deep():
    allowed, meter = is_allowed('{"a": 1}\n{"a": 2}\n{"a": [[[[]]]]}\n{}\n', most=3)
    assert (allowed, meter.line, meter.depth) == (False, 3, 4)


def depth_of(value):
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, inner), default=0) if isinstance(value, dict | list) else 0


VALUES = st.recursive(
    st.text() | st.integers() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.integers(1, 9), st.booleans())
def test_the_depth_is_that_of_the_parsed_value(value, piece_bytes, is_ascii):
    text = json.dumps(value, ensure_ascii=is_ascii)
    depth = depth_of(value)
    assert is_allowed(text, most=depth, piece_bytes=piece_bytes)[0]
    assert not is_allowed(text, most=depth - 1, piece_bytes=piece_bytes)[0] or depth == 0
