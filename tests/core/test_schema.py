"""Schemas made strict, and answers held against them."""

from datetime import UTC, date, datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_pipeline.core.columns import ListOf, Scalar, StructOf
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.schema import UnusableAnswerError, parse_schema

WHERE = "receipt.md: schema"
STRING, NULL = {"type": "string"}, {"type": "null"}


def an_object(*, required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


def parse(schema):
    return parse_schema(schema, where=WHERE)


def parse_field(node, **defs):
    return parse(an_object(field=node) | ({"$defs": defs} if defs else {}))


def complaint(schema):
    with pytest.raises(ConfigError) as caught:
        parse(schema)
    return str(caught.value)


def unusable(schema, text):
    with pytest.raises(UnusableAnswerError) as caught:
        parse(schema).parse(text)
    return str(caught.value)


def missing(parts, text):
    return [part for part in parts if part not in text]


@pytest.mark.parametrize(
    ("node", "strict"),
    [
        (STRING, {"type": ["string", "null"]}),
        ({"type": ["string", "integer"]}, {"type": ["string", "integer", "null"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        (NULL, {"type": ["null"]}),
        (
            {"type": "string", "enum": ["a"]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"type": ["string", "null"], "enum": ["a"]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"type": ["string", "null"], "enum": ["a", None]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        ({"enum": ["a"]}, {"anyOf": [{"enum": ["a"]}, NULL]}),
        (
            {"type": "string", "const": "a"},
            {"anyOf": [{"type": "string", "const": "a"}, NULL]},
        ),
        ({"const": None}, {"anyOf": [{"const": None}, NULL]}),
        ({"$ref": "#/$defs/text"}, {"anyOf": [{"$ref": "#/$defs/text"}, NULL]}),
        (
            {"type": "string", "$ref": "#/$defs/text"},
            {"anyOf": [{"type": "string", "$ref": "#/$defs/text"}, NULL]},
        ),
        (
            {"anyOf": [STRING, {"type": "number"}]},
            {"anyOf": [{"anyOf": [STRING, {"type": "number"}]}, NULL]},
        ),
        ({"anyOf": [STRING, NULL]}, {"anyOf": [STRING, NULL]}),
        ({"oneOf": [STRING, NULL]}, {"anyOf": [{"oneOf": [STRING, NULL]}, NULL]}),
        ({"allOf": [STRING]}, {"anyOf": [{"allOf": [STRING]}, NULL]}),
        ({}, {"anyOf": [{}, NULL]}),
        ({"type": "array", "items": STRING}, {"type": ["array", "null"], "items": STRING}),
        ({"type": "string", "description": "d"}, {"type": ["string", "null"], "description": "d"}),
    ],
)
def test_an_optional_property_becomes_required_and_nullable(node, strict):
    parsed = parse_field(node, text=STRING)
    assert parsed.document["properties"]["field"] == strict
    assert parsed.document["required"] == ["field"]
    assert parsed.parse('{"field": null}') == {"field": None}


def test_a_required_property_stays_as_it_is():
    parsed = parse(an_object(required=["a"], a=STRING, b=STRING))
    assert parsed.document["properties"]["a"] == STRING
    assert parsed.document["required"] == ["a", "b"]
    assert parsed.document["additionalProperties"] is False


def test_the_schema_given_is_not_touched():
    schema = an_object(a=an_object(b={"enum": ["x"]}))
    before = orjson.dumps(schema)
    parse(schema)
    assert orjson.dumps(schema) == before


def test_columns_stand_in_the_schemas_order():
    parsed = parse(
        an_object(
            z=STRING,
            a={"type": "array", "items": an_object(day={"type": "string", "format": "date"})},
            m={"$ref": "#/$defs/kind"},
        )
        | {"$defs": {"kind": {"enum": ["x", "y"]}}}
    )
    assert parsed.columns == (
        ("z", Scalar.STRING),
        ("a", ListOf(StructOf((("day", Scalar.DATE),)))),
        ("m", Scalar.CHOICE),
    )


@pytest.mark.parametrize(
    "root",
    [
        {"$ref": "#/$defs/root"},
        {"$ref": "#/definitions/root"},
        {"anyOf": [{"$ref": "#/$defs/root"}]},
        {"allOf": [{"$ref": "#/definitions/root"}]},
    ],
)
def test_a_root_may_stand_among_the_definitions(root):
    definitions = {"root": an_object(a=STRING)}
    parsed = parse(root | {"$defs": definitions, "definitions": definitions})
    assert parsed.columns == (("a", Scalar.STRING),)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("not", {}),
        ("if", {}),
        ("then", {}),
        ("else", {}),
        ("uniqueItems", True),
        ("contains", {}),
        ("dependentRequired", {}),
        ("patternProperties", {}),
        ("propertyNames", {}),
        ("unevaluatedProperties", {}),
        ("minProperties", 1),
        ("$schema", "https://nowhere.invalid/schema"),
        ("$id", "https://nowhere.invalid/id"),
        ("$anchor", "x"),
        ("unheard-of", 1),
    ],
)
def test_a_keyword_that_strict_mode_cannot_hold_is_refused_with_its_place(keyword, value):
    field = {"type": "array", "items": {keyword: value}}
    parts = [f"{WHERE}.properties.field.items", f"`{keyword}`", "anyOf", "prefixItems"]
    assert missing(parts, complaint(an_object(field=field))) == []
    assert (
        missing([WHERE, f"`{keyword}`"], complaint(an_object(field=STRING) | {keyword: value}))
        == []
    )


@pytest.mark.parametrize(
    ("node", "parts"),
    [
        ({"type": "string", "format": "iri"}, ["field.format", "'iri'", "date-time", "uuid"]),
        ({"type": "string", "pattern": "^(?=a)"}, ["field.pattern", "(?=a)"]),
        ({"type": "string", "pattern": "(?<!a)b"}, ["field.pattern", "look around"]),
        ({"type": "string", "pattern": "("}, ["field.pattern", "not a valid JSON Schema"]),
        (
            an_object(a=STRING) | {"additionalProperties": True},
            ["field.additionalProperties", "open objects", "array of {key, value}"],
        ),
        (
            an_object(a=STRING) | {"additionalProperties": STRING},
            ["field.additionalProperties", "array of {key, value}"],
        ),
        ({"type": "object"}, ["field: an object without properties", "{key, value}"]),
        ({"type": ["object", "null"]}, ["field: an object without properties"]),
        ({"properties": {}}, ["field: an object without properties"]),
        ({"allOf": [STRING, STRING]}, ["field.allOf", "merge"]),
        (an_object(a=STRING) | {"allOf": [STRING]}, ["field.allOf", "merge"]),
        (an_object(a=STRING) | {"anyOf": [{"required": ["a"]}]}, ["field.anyOf", "merge"]),
        (an_object(a=STRING) | {"$ref": "#/$defs/x"}, ["field.$ref", "merge"]),
        (an_object(required=["totl"], total=STRING), ["field.required", "`totl`", "mean `total`?"]),
        ({"$ref": "#/$defs/none"}, ["$ref: '#/$defs/none'", "known: none"]),
        ({"$ref": "#"}, ["$ref: '#'"]),
        ({"$ref": ""}, ["$ref: ''"]),
        ({"$ref": "https://127.0.0.1:9/schema.json"}, ["127.0.0.1", "not defined here"]),
        ({"type": "array", "items": [STRING]}, ["field.items", "not a valid JSON Schema"]),
        ({"type": "array", "items": True}, ["field.items", "expected a schema", "True"]),
        ({"anyOf": [STRING, True]}, ["field.anyOf[1]", "expected a schema"]),
        ({"type": "array", "prefixItems": [False]}, ["field.prefixItems[0]", "expected a schema"]),
        (True, ["field: expected a schema", "True"]),
        ("text", ["properties.field", "not a valid JSON Schema"]),
        ({"type": "strng"}, ["field.type", "not a valid JSON Schema", "strng"]),
        ({"type": 5}, ["field.type", "not a valid JSON Schema"]),
        ({"type": "string", "enum": 5}, ["field.enum", "not a valid JSON Schema"]),
        ({"type": "string", "format": ["date"]}, ["field.format", "not a valid JSON Schema"]),
        ({"type": "string", "minLength": -1}, ["field.minLength", "-1"]),
        ({"type": "integer", "maximum": 10**30}, ["cannot be written as JSON", "64-bit"]),
        ({"anyOf": 5}, ["field.anyOf", "not a valid JSON Schema"]),
        ({"allOf": 5}, ["field.allOf", "not a valid JSON Schema"]),
        ({"type": "string", "const": "\ud800"}, ["cannot be written as JSON"]),
    ],
)
def test_a_bad_node_is_refused_with_its_place(node, parts):
    assert missing([WHERE, *parts], complaint(an_object(field=node))) == []


@pytest.mark.parametrize(
    ("schema", "parts"),
    [
        (STRING, ["an answer is an object"]),
        ({"type": "array", "items": an_object(a=STRING)}, ["an answer is an object"]),
        ({"type": ["object", "null"], "properties": {"a": STRING}}, ["and not null"]),
        ({"anyOf": [an_object(a=STRING), NULL]}, ["and not null"]),
        ({"anyOf": [an_object(a=STRING), an_object(b=STRING)]}, ["an answer is an object"]),
        ({"properties": {"a": STRING}}, ["an answer is an object"]),
        ({"type": "object"}, ["an object without properties"]),
        ({}, ["an answer is an object"]),
        (an_object(a=STRING) | {"required": "a"}, [f"{WHERE}.required", "not a valid"]),
        (an_object(a=STRING) | {"$defs": []}, [f"{WHERE}.$defs", "not a valid"]),
        ({"type": "object", "properties": []}, [f"{WHERE}.properties", "not a valid"]),
        ({"type": "object", "properties": {True: STRING}}, ["cannot be written as JSON"]),
        (
            an_object(a=STRING) | {"$defs": {"x": {"not": {}}}},
            [f"{WHERE}.$defs.x", "`not`"],
        ),
        (
            an_object(a=STRING) | {"$defs": {"x": {"$ref": "https://127.0.0.1:9/s"}}},
            [f"{WHERE}.$defs.x.$ref", "not defined here"],
        ),
    ],
)
def test_a_bad_root_is_refused(schema, parts):
    assert missing([WHERE, *parts], complaint(schema)) == []


@pytest.mark.parametrize(
    "defs",
    [
        {"node": {"$ref": "#/$defs/node"}},
        {"node": an_object(next={"$ref": "#/$defs/node"})},
        {"node": an_object(children={"type": "array", "items": {"$ref": "#/$defs/node"}})},
        {
            "node": an_object(other={"anyOf": [{"$ref": "#/$defs/other"}, NULL]}),
            "other": an_object(node={"$ref": "#/$defs/node"}),
        },
    ],
)
def test_a_schema_that_contains_itself_is_refused(defs):
    told = complaint(an_object(tree={"$ref": "#/$defs/node"}) | {"$defs": defs})
    assert missing([f"{WHERE}.properties.tree", "$ref", "contains itself"], told) == []


def test_a_definition_may_be_used_twice():
    day = {"$ref": "#/$defs/day"}
    parsed = parse(an_object(a=day, b=day) | {"$defs": {"day": {"type": "string"}}})
    assert parsed.columns == (("a", Scalar.STRING), ("b", Scalar.STRING))


TOTAL = an_object(required=["total"], total={"type": "number"})


@pytest.mark.parametrize(
    "text",
    [
        '{"total": 3.5}',
        ' \n{"total": 3.5}\n ',
        '```json\n{"total": 3.5}\n```',
        '```\n{"total": 3.5}\n```',
        '```JSON \r\n{"total": 3.5}\r\n```\r\n',
        '```json\n{"total": 3.5}```',
        'Here it is:\n\n```json\n{\n  "total": 3.5\n}\n```\nAnything else?',
    ],
)
def test_one_fence_and_prose_around_it_are_let_pass(text):
    assert parse(TOTAL).parse(text) == {"total": 3.5}


def test_a_fence_inside_a_text_is_text():
    markdown = "```py\nx\n```"
    text = orjson.dumps({"field": markdown}).decode()
    assert parse_field(STRING).parse(text) == {"field": markdown}
    assert parse_field(STRING).parse(f"```json\n{text}\n```") == {"field": markdown}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("total: 3.5", "not valid JSON"),
        ('The total is {"total": 3.5}', "not valid JSON"),
        ('{"total": 3.5', "not valid JSON"),
        ('{"total": 3.5} {"total": 3.5}', "not valid JSON"),
        ('```json\n{"total": 1}\n```\nor\n```json\n{"total": 2}\n```', "not valid JSON"),
        ("```json\n" + " " * 50_000, "not valid JSON"),
        ('{"total": NaN}', "not valid JSON"),
        ('{"total": Infinity}', "not valid JSON"),
        ('{"total": 1e999}', "not valid JSON"),
        ('{"total": "\\ud800"}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('[{"total": 3.5}]', "object"),
        ("3.5", "object"),
        ("null", "object"),
        ("{}", '"total"'),
        ('{"total": null}', "/total"),
        ('{"total": "3.5"}', "/total"),
        ('{"total": 3.5, "tax": 1}', "tax"),
    ],
)
def test_what_is_no_fitting_json_is_unusable(text, said):
    assert said in unusable(TOTAL, text)


@pytest.mark.parametrize(
    ("properties", "value", "wanted"),
    [
        ({"total": {"type": "number"}}, {"total": 1, "tax": 2}, {"total": 1.0}),
        ({"of": an_object(a=STRING)}, {"of": {"a": "x", "b": 1}}, {"of": {"a": "x"}}),
        (
            {"all": {"type": "array", "items": an_object(a=STRING)}},
            {"all": [{"b": 1, "a": "x"}], "tax": None},
            {"all": [{"a": "x"}]},
        ),
    ],
)
def test_other_keys_can_be_dropped_at_any_depth(properties, value, wanted):
    schema = parse(an_object(**properties))
    assert schema.parse(orjson.dumps(value).decode(), drops_others=True) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"tax": 1}', '"total"'), ('{"total": "3.5", "tax": 1}', "/total"), ("[1]", "object")],
)
def test_dropping_other_keys_excuses_nothing_else(text, said):
    with pytest.raises(UnusableAnswerError) as caught:
        parse(TOTAL).parse(text, drops_others=True)
    assert said in str(caught.value)
    assert "tax" not in str(caught.value)


@pytest.mark.parametrize(
    ("node", "value", "said"),
    [
        ({"type": "integer"}, 2**63, "64 bits"),
        ({"type": "integer"}, 3.5, "/field"),
        ({"type": "string", "format": "date"}, "2026-02-30", "date"),
        ({"type": "string", "format": "date"}, "20260228", "date"),
        ({"type": "string", "format": "date"}, "0000-01-01", "year 0"),
        ({"type": "string", "format": "date-time"}, "2026-02-28T10:00:00", "date-time"),
        ({"type": "string", "format": "date-time"}, "2016-12-31T23:59:60Z", "second"),
        ({"type": "string", "format": "date-time"}, "0001-01-01T00:00:00+23:59", "out of range"),
        ({"type": "string", "format": "time"}, "25:00:00Z", "time"),
        ({"type": "string", "format": "duration"}, "soon", "duration"),
        ({"type": "string", "format": "email"}, "nobody", "email"),
        ({"type": "string", "format": "hostname"}, "-a-", "hostname"),
        ({"type": "string", "format": "ipv4"}, "1.2.3", "ipv4"),
        ({"type": "string", "format": "ipv6"}, "1.2.3.4", "ipv6"),
        ({"type": "string", "format": "uuid"}, "ab", "uuid"),
        ({"type": "string", "format": "uri"}, "a b", "uri"),
        ({"type": "string", "pattern": "^[A-Z]{3}$"}, "euro", "/field"),
        ({"enum": ["a", "b"]}, "c", "/field"),
        (
            {"type": "array", "items": an_object(required=["a"], a=STRING)},
            [{"a": "x"}, {"a": 1}],
            "/field/1/a",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(node, value, said):
    text = orjson.dumps({"field": value}).decode()
    assert said in unusable(an_object(required=["field"], field=node), text)


def test_an_integer_beyond_all_bounds_does_not_fit():
    assert "64 bits" in unusable(
        an_object(field={"type": "integer"}), '{"field": 1' + "0" * 40 + "}"
    )


def test_a_complaint_is_short_however_much_is_wrong():
    schema = an_object(field={"type": "array", "items": {"type": "integer"}})
    text = orjson.dumps({"field": ["x" * 1000] * 50}).decode()
    told = unusable(schema, text)
    assert "/field/7" in told
    assert "and 42 more" in told
    assert len(told) < 2500


def test_values_are_cast_to_their_columns():
    schema = an_object(
        day={"type": "string", "format": "date"},
        at={"type": "string", "format": "date-time"},
        count={"type": "integer"},
        pair={"type": "array", "prefixItems": [STRING, {"type": "integer"}]},
    )
    text = '{"day":"2026-02-28","at":"2026-02-28T10:00:00.5Z","count":2.0,"pair":["a",1,{}]}'
    assert parse(schema).parse(text) == {
        "day": date(2026, 2, 28),
        "at": datetime(2026, 2, 28, 10, 0, 0, 500_000, tzinfo=UTC),
        "count": 2,
        "pair": '["a", 1, {}]',
    }


# Pairs of a schema and a strategy for documents that fit it with all keys present.
leaves = st.sampled_from(
    [
        (STRING, st.text(max_size=5)),
        ({"type": "integer"}, st.integers(-(2**53), 2**53)),
        ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False)),
        ({"type": "boolean"}, st.booleans()),
        ({"type": ["string", "null"]}, st.none() | st.text(max_size=5)),
        ({"enum": ["a", 1, None]}, st.sampled_from(["a", 1, None])),
        ({"type": "string", "enum": ["a", "b"]}, st.sampled_from("ab")),
        ({"const": "a"}, st.just("a")),
        ({"type": "string", "format": "date"}, st.dates().map(date.isoformat)),
        ({"$ref": "#/$defs/word"}, st.text(max_size=5)),
    ]
)


def arrays(pairs):
    return pairs.map(lambda of: ({"type": "array", "items": of[0]}, st.lists(of[1], max_size=3)))


def tuples(pairs):
    return st.lists(pairs, min_size=1, max_size=3).map(
        lambda of: (
            {"type": "array", "prefixItems": [node for node, _ in of], "items": False},
            st.tuples(*(fitting for _, fitting in of)),
        )
    )


def unions(pairs):
    return st.lists(pairs, min_size=1, max_size=3).map(
        lambda of: (
            {"anyOf": [node for node, _ in of]},
            st.one_of(*(fitting for _, fitting in of)),
        )
    )


def objects(pairs):
    fields = st.dictionaries(st.sampled_from("abcd"), pairs, min_size=1)
    return st.builds(
        lambda of, optional: (
            an_object(
                required=[name for name in of if name not in optional],
                **{name: node for name, (node, _) in of.items()},
            ),
            st.fixed_dictionaries({name: fitting for name, (_, fitting) in of.items()}),
        ),
        fields,
        st.sets(st.sampled_from("abcd")),
    )


roots = objects(
    st.recursive(
        leaves,
        lambda pairs: arrays(pairs) | tuples(pairs) | unions(pairs) | objects(pairs),
        max_leaves=6,
    )
)
DEFINITIONS = {"$defs": {"word": STRING}}


def nodes(node):
    """All parts of a JSON document that are objects."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    found = [node] if isinstance(node, dict) else []
    return found + [each for child in inner for each in nodes(child)]


@settings(max_examples=60)
@given(roots)
def test_every_object_of_a_strict_schema_is_closed_and_fully_required(root):
    schema, _ = root
    document = parse(schema | DEFINITIONS).document
    closed = [node for node in nodes(document) if "properties" in node and "type" in node]
    assert closed
    assert all(node["additionalProperties"] is False for node in closed)
    assert all(node["required"] == list(node["properties"]) for node in closed)


@settings(max_examples=100)
@given(roots, st.data())
def test_what_fits_the_schema_with_all_keys_fits_the_strict_one(root, data):
    schema, fitting = root
    document = data.draw(fitting)
    answer = parse(schema | DEFINITIONS).parse(orjson.dumps(document).decode())
    assert list(answer) == list(schema["properties"])


@settings(max_examples=60)
@given(roots, st.data())
def test_what_was_optional_may_be_null(root, data):
    schema, fitting = root
    optional = dict.fromkeys(set(schema["properties"]) - set(schema["required"]))
    answer = parse(schema | DEFINITIONS).parse(orjson.dumps(data.draw(fitting) | optional).decode())
    assert {name: answer[name] for name in optional} == optional


@settings(max_examples=60)
@given(roots)
def test_a_strict_schema_is_strict_already(root):
    schema, _ = root
    strict = parse(schema | DEFINITIONS)
    again = parse(strict.document)
    assert again.document == strict.document
    assert again.columns == strict.columns


@given(st.text() | st.text('a"\ud800\udfff'))
def test_no_text_is_worse_than_unusable(text):
    assert unusable(TOTAL, text)


def test_a_schema_that_doubles_with_every_reference_is_refused_at_once():
    nodes = {
        f"n{n}": {
            "type": "object",
            "properties": {"a": {"$ref": f"#/$defs/n{n + 1}"}, "b": {"$ref": f"#/$defs/n{n + 1}"}},
        }
        for n in range(24)
    } | {"n24": {"type": "string"}}
    root = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n0"}}, "$defs": nodes}
    with pytest.raises(ConfigError, match="too large for a table"):
        parse_schema(root, where="p.md: schema")


def test_a_schema_that_no_parquet_reader_could_open_is_refused():
    node = {"type": "string"}
    for _ in range(100):
        node = {"type": "array", "items": node}
    with pytest.raises(ConfigError, match="nested at most"):
        parse_schema({"type": "object", "properties": {"a": node}}, where="p.md: schema")
