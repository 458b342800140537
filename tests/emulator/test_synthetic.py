"""Made-up answers against many schemas, and what the grammar refuses."""

from __future__ import annotations

import json
from random import Random

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vision_pipeline.emulator.grammar import FORMATS, GrammarError, compile_grammar
from vision_pipeline.emulator.sampler import sample

NAMES = st.sampled_from(["a", "b", "not", "if", "format", "x/y", "~", "ü"])
PATTERNS = st.sampled_from(
    [
        r"^[A-Z]{3}-\d{2,4}$",
        r"^(?:red|green|blue)?$",
        r"^\w+@\w+\.(com|org)$",
        r"\d+",
        r"^[^a-z]*$",
        r"^.{0,5}\.$",
        r"^(?<year>20\d\d)[-/](0[1-9]|1[0-2])$",
        r"^[\w.-]+\S\s?$",
        r"^\x41\u0042[\-\]]$",
    ]
)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=5))


@st.composite
def numbers(draw):
    low = draw(st.integers(-1000, 1000))
    schema = {"type": draw(st.sampled_from(["number", "integer"]))}
    bounds = {"minimum": low, "exclusiveMaximum": low + draw(st.integers(2, 50))}
    other = {"exclusiveMinimum": low, "maximum": low + draw(st.integers(2, 50))}
    step = draw(st.sampled_from([None, 1, 0.5, 0.25, 0.1, 2]))
    chosen = draw(st.sampled_from([{}, bounds, other, {"minimum": low}, {"maximum": low}]))
    return schema | chosen | ({} if step is None else {"multipleOf": step})


@st.composite
def texts(draw):
    least = draw(st.integers(0, 40))
    return draw(
        st.one_of(
            st.just({"type": "string", "minLength": least, "maxLength": least + 3}),
            st.builds(
                lambda name: {"type": "string", "format": name}, st.sampled_from(sorted(FORMATS))
            ),
            st.builds(lambda pattern: {"type": "string", "pattern": pattern}, PATTERNS),
        )
    )


@st.composite
def objects(draw, children):
    members = draw(st.dictionaries(NAMES, children, max_size=4))
    required = draw(st.lists(st.sampled_from(sorted(members)), unique=True)) if members else []
    return {
        "type": draw(st.sampled_from(["object", ["object", "null"]])),
        "properties": members,
        "required": required,
        "additionalProperties": draw(st.booleans()),
    }


@st.composite
def arrays(draw, children):
    least = draw(st.integers(0, 3))
    bounds = {"minItems": least, "maxItems": least + draw(st.integers(0, 3))}
    return {"type": "array", "items": draw(children)} | draw(st.sampled_from([{}, bounds]))


def combined(children):
    return st.one_of(
        objects(children),
        arrays(children),
        st.builds(lambda schemas: {"anyOf": schemas}, st.lists(children, min_size=1, max_size=3)),
        st.builds(lambda schema: {"allOf": [schema, {"title": "x"}]}, children),
        st.builds(lambda schema: {"oneOf": [schema, {"const": "\0none\0"}]}, children),
        st.just({"$ref": "#/$defs/tree"}),
    )


LEAVES = st.one_of(
    numbers(),
    texts(),
    st.just({"type": "boolean"}),
    st.just({"type": ["string", "null"]}),
    st.just({"type": "string", "nullable": True}),
    st.builds(lambda value: {"const": value}, VALUES),
    st.builds(lambda values: {"enum": values}, st.lists(VALUES, min_size=1, max_size=4)),
)
SCHEMAS = st.recursive(LEAVES, combined, max_leaves=8)
TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
        "next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
    },
    "required": ["name", "children", "next"],
    "additionalProperties": False,
}


@settings(
    max_examples=80, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(SCHEMAS, st.integers(0, 2**32))
def test_every_schema_gets_an_answer_that_fits_it(schema, seed):
    whole = {"allOf": [schema], "$defs": {"tree": TREE}}
    answer = json.loads(json.dumps(sample(compile_grammar(whole), Random(seed))))
    assert jsonschema_rs.Draft7Validator(whole, validate_formats=True).is_valid(answer)


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"type": "number", "minimum": 3}, {"type": "integer", "maximum": 4}]},
        {"allOf": [{"enum": [1, 2, True]}, {"enum": [2, 3]}]},
        {"allOf": [{"multipleOf": 4}, {"multipleOf": 6}, {"minimum": 1}]},
        {
            "properties": {"a": {"type": "string"}},
            "allOf": [{"properties": {"a": {"maxLength": 2}}}],
        },
        {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 0}]},
        {"type": "object", "minProperties": 3},
        {"type": "object", "patternProperties": {"^n_": {"type": "integer"}}, "required": ["n_1"]},
        {"type": "array", "items": [{"const": 1}, {"const": 2}], "minItems": 2},
        {"anyOf": [{"type": "string"}, {"type": "integer"}], "enum": [7]},
        {"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"const": "x"}}},
        {"type": "object", "properties": {"me": {"$ref": "#"}}},
    ],
)
def test_joined_and_referenced_schemas_are_satisfied(schema):
    grammar = compile_grammar(schema)
    assert all(grammar.accepts(sample(grammar, Random(seed))) for seed in range(20))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"not": {}},
        {"if": {}},
        {"uniqueItems": True},
        {"properties": {"a": {"contains": {}}}},
        {"format": "phone"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/nowhere"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"items": {"pattern": "("}},
    ],
)
def test_what_the_grammar_engine_does_not_know_is_refused(schema):
    with pytest.raises(GrammarError):
        compile_grammar(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "(?=a)b"},
        {"pattern": "a{3}", "type": "string", "maxLength": 2},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"allOf": [{"type": "string"}, {"type": "null"}]},
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"allOf": [{"$ref": "#"}]},
        {"required": ["a"], "additionalProperties": False},
        {"type": "string", "enum": [1]},
    ],
)
def test_a_schema_that_nothing_fits_is_refused(schema):
    with pytest.raises(GrammarError):
        sample(compile_grammar(schema), Random(0))


def answer_format(schema, *, strict=True):
    spec = {"name": "x", "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": spec}


def content(reply):
    return reply.json()["choices"][0]["message"]["content"]


def test_a_bad_schema_is_a_grammar_error_on_the_wire(api):
    reply = api.chat(response_format=answer_format({"type": "string", "format": "phone"}))
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("Grammar error: ")


def test_without_strict_a_bad_schema_constrains_nothing(api):
    reply = api.chat(response_format=answer_format({"not": {}}, strict=False))
    assert isinstance(json.loads(content(reply)), dict)


def test_json_mode_gives_an_object(api):
    reply = api.chat("Answer in JSON", response_format={"type": "json_object"})
    assert isinstance(json.loads(content(reply)), dict)


def test_the_same_question_gets_the_same_answer_and_another_image_another(api, image, data_url):
    def ask(width_px, words):
        chunks = [{"text": words}, {"image_url": data_url(image(width_px, 50))}]
        schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
        return content(api.chat(chunks, response_format=answer_format(schema)))

    assert ask(50, "one") == ask(50, "one")
    assert len({ask(50, "one"), ask(51, "one"), ask(50, "two")}) == 3


def test_another_seed_gives_another_answer(start, api):
    assert content(start(seed=1).chat()) != content(api.chat())
