"""Column types read off schemas, and values cast to them."""

from datetime import UTC, date, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.columns import (
    INT64_MAX,
    INT64_MIN,
    ListOf,
    Scalar,
    StructOf,
    cast,
    column_type,
)

STRING, INTEGER, NULL = {"type": "string"}, {"type": "integer"}, {"type": "null"}
DAY = {"type": "string", "format": "date"}
PAIR = {"type": "object", "properties": {"b": STRING, "a": INTEGER}}
PAIR_TYPE = StructOf((("b", Scalar.STRING), ("a", Scalar.INTEGER)))
DEFINITIONS = {"#/$defs/pair": PAIR, "#/$defs/same": {"$ref": "#/$defs/pair"}}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (STRING, Scalar.STRING),
        (INTEGER, Scalar.INTEGER),
        ({"type": "number"}, Scalar.NUMBER),
        ({"type": "boolean"}, Scalar.BOOLEAN),
        (NULL, Scalar.JSON),
        ({}, Scalar.JSON),
        (DAY, Scalar.DATE),
        ({"type": "string", "format": "date-time"}, Scalar.TIMESTAMP),
        ({"type": "string", "format": "email"}, Scalar.STRING),
        ({"type": ["string", "null"]}, Scalar.STRING),
        ({"type": ["string", "null"], "format": "date"}, Scalar.DATE),
        ({"type": ["null"]}, Scalar.JSON),
        ({"type": ["integer", "number"]}, Scalar.NUMBER),
        ({"type": ["number", "integer", "null"]}, Scalar.NUMBER),
        ({"type": ["string", "integer"]}, Scalar.JSON),
        ({"enum": ["a", "b"]}, Scalar.CHOICE),
        ({"enum": ["a", None]}, Scalar.CHOICE),
        ({"type": "string", "enum": ["a"], "format": "date"}, Scalar.CHOICE),
        ({"enum": [1, 2, None]}, Scalar.INTEGER),
        ({"enum": [1, 2.5]}, Scalar.NUMBER),
        ({"enum": [True, False]}, Scalar.BOOLEAN),
        ({"enum": [1, True]}, Scalar.JSON),
        ({"enum": ["a", 1]}, Scalar.JSON),
        ({"enum": [None]}, Scalar.JSON),
        ({"enum": [["a"]]}, Scalar.JSON),
        ({"const": "a"}, Scalar.CHOICE),
        ({"const": 1}, Scalar.INTEGER),
        ({"const": None}, Scalar.JSON),
        (PAIR, PAIR_TYPE),
        ({"type": ["object", "null"], "properties": PAIR["properties"]}, PAIR_TYPE),
        ({"type": "object"}, StructOf(())),
        ({"$ref": "#/$defs/pair"}, PAIR_TYPE),
        ({"$ref": "#/$defs/same", "description": "d"}, PAIR_TYPE),
        ({"anyOf": [{"$ref": "#/$defs/pair"}, NULL]}, PAIR_TYPE),
        ({"anyOf": [STRING, NULL]}, Scalar.STRING),
        ({"anyOf": [STRING, {"type": ["string", "null"]}]}, Scalar.STRING),
        ({"anyOf": [STRING, INTEGER]}, Scalar.JSON),
        ({"anyOf": [STRING, DAY]}, Scalar.JSON),
        ({"anyOf": [NULL]}, Scalar.JSON),
        ({"oneOf": [INTEGER, NULL]}, Scalar.INTEGER),
        ({"allOf": [INTEGER]}, Scalar.INTEGER),
        ({"type": "array", "items": STRING}, ListOf(Scalar.STRING)),
        ({"type": ["array", "null"], "items": PAIR}, ListOf(PAIR_TYPE)),
        ({"type": "array", "items": {"type": "array", "items": DAY}}, ListOf(ListOf(Scalar.DATE))),
        ({"type": "array", "items": {}}, ListOf(Scalar.JSON)),
        ({"type": "array"}, ListOf(Scalar.JSON)),
        ({"type": "array", "items": False}, Scalar.JSON),
        ({"type": "array", "prefixItems": [INTEGER, INTEGER], "items": False}, ListOf("integer")),
        ({"type": "array", "prefixItems": [INTEGER], "items": INTEGER}, ListOf(Scalar.INTEGER)),
        ({"type": "array", "prefixItems": [STRING, INTEGER], "items": False}, Scalar.JSON),
        ({"type": "array", "prefixItems": [INTEGER], "items": STRING}, Scalar.JSON),
        ({"type": "array", "prefixItems": [INTEGER]}, Scalar.JSON),
    ],
)
def test_every_schema_has_a_column_type(schema, kind):
    assert column_type(schema, DEFINITIONS) == kind


@pytest.mark.parametrize(
    ("value", "kind", "held"),
    [
        ("a", Scalar.STRING, "a"),
        ("a", Scalar.CHOICE, "a"),
        (True, Scalar.BOOLEAN, True),
        (3, Scalar.INTEGER, 3),
        (3.0, Scalar.INTEGER, 3),
        (INT64_MAX, Scalar.INTEGER, INT64_MAX),
        (INT64_MIN, Scalar.INTEGER, INT64_MIN),
        (3, Scalar.NUMBER, 3.0),
        ("2026-02-28", Scalar.DATE, date(2026, 2, 28)),
        ("2026-02-28T10:00:00Z", Scalar.TIMESTAMP, datetime(2026, 2, 28, 10, tzinfo=UTC)),
        ("2026-02-28t10:00:00z", Scalar.TIMESTAMP, datetime(2026, 2, 28, 10, tzinfo=UTC)),
        ("2026-02-28T10:00:00+02:00", Scalar.TIMESTAMP, datetime(2026, 2, 28, 8, tzinfo=UTC)),
        ({"é": [1, None]}, Scalar.JSON, '{"é": [1, null]}'),
        ("text", Scalar.JSON, '"text"'),
        ([1, None], ListOf(Scalar.NUMBER), [1.0, None]),
        ([], ListOf(Scalar.DATE), []),
        ({"a": 1, "b": "x"}, PAIR_TYPE, {"b": "x", "a": 1}),
        ({"b": "x"}, PAIR_TYPE, {"b": "x", "a": None}),
    ],
)
def test_a_value_is_held_as_its_column_holds_it(value, kind, held):
    assert cast(value, kind) == held
    assert type(cast(value, kind)) is type(held)


@pytest.mark.parametrize("kind", [*Scalar, ListOf(Scalar.JSON), PAIR_TYPE])
def test_null_is_null_in_every_column(kind):
    assert cast(None, kind) is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (INT64_MAX + 1, Scalar.INTEGER),
        (INT64_MIN - 1, Scalar.INTEGER),
        (1e300, Scalar.INTEGER),
        ("2026-02-30", Scalar.DATE),
        ("0000-01-01", Scalar.DATE),
        ("2016-12-31T23:59:60Z", Scalar.TIMESTAMP),
        ("0001-01-01T00:00:00+23:59", Scalar.TIMESTAMP),
        ("9999-12-31T23:59:59-23:59", Scalar.TIMESTAMP),
        ([1, 1e300], ListOf(Scalar.INTEGER)),
    ],
)
def test_what_no_column_can_hold_is_a_value_error(value, kind):
    with pytest.raises(ValueError, match=r"\w"):
        cast(value, kind)


@given(st.dates())
def test_a_day_is_the_same_day(day):
    assert cast(day.isoformat(), Scalar.DATE) == day


offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=offsets)  # noqa: DTZ001


@given(moments)
def test_a_moment_is_the_same_moment_in_utc(moment):
    held = cast(moment.isoformat(), Scalar.TIMESTAMP)
    assert held == moment
    assert held.tzinfo is UTC


@given(st.lists(st.integers(INT64_MIN, INT64_MAX)))
def test_integers_are_the_same_integers(values):
    assert cast(values, ListOf(Scalar.INTEGER)) == values


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(values.filter(lambda value: value is not None))
def test_json_text_holds_the_value(value):
    assert orjson.loads(cast(value, Scalar.JSON)) == value
