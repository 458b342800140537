"""Prompt templates: front matter, text and variables."""

from dataclasses import replace

import pytest

from vision_pipeline.core.errors import ConfigError, ErrorCode, ItemError
from vision_pipeline.core.prompts import parse_template

FILE = "configs/prompts/receipt.md"
HEAD = "version: 1\ndescription: d\nschema: null\n"


def parse(text="Read it.", *, head=HEAD):
    return parse_template(f"---\n{head}---\n{text}\n", file=FILE)


def complaint(source):
    with pytest.raises(ConfigError) as caught:
        parse_template(source, file=FILE)
    return str(caught.value)


def missing(parts, text):
    return [part for part in parts if part not in text]


def test_a_template_is_read_whole():
    template = parse(
        "\nRead {{ it }}.\n\n",
        head="""\
version: "2"
description: >
  Fields of
  a receipt.
system: |
  You read.
schema: {type: object, properties: {total: {type: number}}}
min_images: 2
max_images: 4
""",
    )
    assert template.name == "receipt"
    assert (template.version, template.description) == ("2", "Fields of a receipt.")
    assert (template.system, template.text) == ("You read.", "Read {{ it }}.")
    assert [name for name, _ in template.schema.columns] == ["total"]
    assert (template.min_images, template.max_images) == (2, 4)
    assert template.variables == {"it"}


def test_a_template_for_free_text_has_no_schema():
    template = parse()
    assert template.schema is None
    assert template.system is None
    assert (template.min_images, template.max_images) == (1, 1)


@pytest.mark.parametrize(
    ("file", "name"), [("a/b.md", "b"), ("b.md", "b"), ("a\\b.md", "b"), ("a/b.txt", "b.txt")]
)
def test_a_template_has_the_name_of_its_file(file, name):
    assert parse_template(f"---\n{HEAD}---\nhi", file=file).name == name


@pytest.mark.parametrize(("written", "version"), [("1", "1"), ("2.5", "2.5"), ("v3", "v3")])
def test_a_version_may_be_a_number(written, version):
    assert parse(head=f"version: {written}\ndescription: d\nschema: null\n").version == version


def test_more_images_are_needed_than_are_allowed_means_as_many_as_are_needed():
    assert parse(head=HEAD + "min_images: 3\n").max_images == 3


def test_a_byte_order_mark_and_windows_lines_do_no_harm():
    source = f"\ufeff---\n{HEAD}---\nRead\nit.".replace("\n", "\r\n")
    assert parse_template(source, file=FILE).text.split() == ["Read", "it."]


def test_a_line_of_dashes_in_the_text_is_text():
    assert parse("above\n---\nbelow").text == "above\n---\nbelow"


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("Read it.", ["front matter", "---"]),
        ("", ["front matter"]),
        (f"---\n{HEAD}Read it.", ["front matter"]),
        (f"\n---\n{HEAD}---\nRead it.", ["front matter"]),
        (f"---\n{HEAD}---\n \n", ["the text after the front matter is empty"]),
        (f"---\n{HEAD}sistem: x\n---\nhi", ["sistem: unknown key", "`system`", "known: version"]),
        (f"---\n{HEAD}schema_: x\n---\nhi", ["schema_: unknown key", "`schema`"]),
        ("---\nversion: 1\ndescription: d\n---\nhi", ["schema: required, but not set"]),
        ("---\n---\nhi", ["expected keys and values"]),
        ("---\n- a\n---\nhi", ["expected keys and values", "['a']"]),
        ("---\nversion: [\n---\nhi", [f"{FILE}:3:1", "not valid YAML"]),
        ("---\nversion: 2026-13-45\n---\nhi", ["not valid YAML", "month"]),
        ("---\nversion: ''\ndescription: d\nschema: null\n---\nhi", ["version: ''"]),
        ("---\nversion: true\ndescription: d\nschema: null\n---\nhi", ["version: True", "string"]),
        ("---\nversion: 1\ndescription: d\nschema: 5\n---\nhi", ["schema: 5", "dictionary"]),
        (f"---\n{HEAD}max_images: 0\n---\nhi", ["max_images: 0", "greater than or equal to 1"]),
        (f"---\n{HEAD}max_images: many\n---\nhi", ["max_images: 'many'", "integer"]),
        (
            "---\nversion: 1\ndescription: d\nschema: {type: object, properties: "
            "{a: {type: object, properties: {b: {not: {}}}}}}\n---\nhi",
            ["schema.properties.a.properties.b", "`not`"],
        ),
        (
            "---\nversion: 1\ndescription: d\n"
            "schema: {type: object, properties: {yes: {type: string}}}\n---\nhi",
            ["schema: cannot be written as JSON", "key"],
        ),
    ],
)
def test_a_bad_template_is_refused_with_its_place(source, parts):
    assert missing([FILE, *parts], complaint(source)) == []


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("{{ a", 6, "unexpected end"),
        ("fine\n\n{% if %}", 8, "Expected an expression"),
        ("fine\n{% endif %}", 7, "endif"),
        ("fine\n\n\n{{ a | nofilter }}", 9, "nofilter"),
        ("{{ a is notest }}", 6, "notest"),
    ],
)
def test_text_that_is_no_template_is_refused_with_its_line(text, line, said):
    source = f"---\n{HEAD}---\n{text}\n"
    assert missing([f"{FILE}:{line}: ", said], complaint(source)) == []


def test_dates_in_a_schema_are_text():
    template = parse(
        head="version: 1\ndescription: d\nschema: {type: object, properties: "
        "{day: {type: string, format: date, examples: [2026-01-31]}}}\n"
    )
    assert template.schema.document["properties"]["day"]["examples"] == ["2026-01-31"]
    assert template.sha256


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("plain", set()),
        ("{{ a }} {{ b.c }} {{ d[0] }}", {"a", "b", "d"}),
        ("{% if a %}x{% endif %}", {"a"}),
        ("{% if a is defined %}{{ a }}{% endif %}", set()),
        ("{% if a is undefined %}x{% else %}{{ a }}{% endif %}", set()),
        ("{% if a is not defined %}x{% else %}{{ a }}{% endif %}", set()),
        ("{{ a | default('x') }} {{ b | d }}", set()),
        ("{{ a.b | default('x') }}", {"a"}),
        ("{{ a | upper }}", {"a"}),
        ("{% if a.b is defined %}x{% endif %}", {"a"}),
        ("{% set a = b %}{{ a }}", {"b"}),
        ("{% for a in b %}{{ a }}{{ loop.index }}{% endfor %}", {"b"}),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", set()),
    ],
)
def test_variables_are_the_names_used_without_asking(text, variables):
    assert parse(text).variables == variables


def test_columns_that_cover_the_variables_are_taken():
    parse("{{ a }} {{ b | default('') }}").check_columns(["a", "c"])


def test_a_missing_column_is_named_with_the_nearest_and_all_others():
    with pytest.raises(ConfigError) as caught:
        parse("{{ country }}").check_columns(["county", "id"])
    parts = [FILE, "{{ country }}", "did you mean `county`?", "columns: county, id"]
    assert missing(parts, str(caught.value)) == []


def test_a_missing_column_of_no_columns_says_so():
    with pytest.raises(ConfigError, match="columns: none"):
        parse("{{ country }}").check_columns([])


def test_columns_fill_the_holes():
    template = parse("Read {{ what }}{% if more is defined %} and {{ more }}{% endif %}.")
    assert template.render({"what": "it", "unused": 1}) == "Read it."
    assert template.render({"what": "it", "more": "it <all>"}) == "Read it and it <all>."


def test_a_template_renders_again_and_again():
    template = parse("{{ a }}")
    assert [template.render({"a": each}) for each in "xyx"] == ["x", "y", "x"]


@pytest.mark.parametrize(
    "text",
    [
        "{{ missing }}",
        "{{ a.missing }}",
        "{{ none + 1 }}",
        "{{ 1 / zero }}",
        "{{ '%d' % 'x' }}",
        "{{ [] | first }}",
        "{{ range(10 ** 9) }}",
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ a.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ '{0.__class__}'.format(a) }}",
        "{% set _ = items.append(1) %}",
        "{% set _ = items.clear() %}",
    ],
)
def test_what_fails_or_reaches_out_of_the_sandbox_costs_its_item_alone(text):
    items = [1]
    with pytest.raises(ItemError) as caught:
        parse(text).render({"a": "x", "none": None, "zero": 0, "items": items})
    assert caught.value.code == ErrorCode.UNRENDERED_PROMPT
    assert FILE in caught.value.detail
    assert items == [1]


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("Read that.", HEAD),
        ("Read it.", HEAD + "system: You read.\n"),
        ("Read it.", HEAD.replace("null", "{type: object, properties: {a: {type: string}}}")),
    ],
)
def test_what_the_model_is_shown_changes_the_digest(text, head):
    assert parse(text, head=head).sha256 != parse().sha256


def test_what_is_ours_alone_does_not_change_the_digest():
    template = parse()
    assert replace(template, version="2", description="e", file="f").sha256 == template.sha256


def test_half_a_surrogate_has_a_digest():
    assert len(parse(head=HEAD + 'system: "\\ud800"\n').sha256) == 64


@pytest.mark.parametrize(
    "text",
    [
        "{% include 'other.md' %}",
        "{% import 'other.md' as other %}",
        "{% extends 'other.md' %}",
        "(" * 3000 + "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{% for i in [1] %}" * 30 + "x" + "{% endfor %}" * 30,
    ],
)
def test_a_template_that_can_never_be_rendered_is_refused_before_the_first_call(text):
    with pytest.raises(ConfigError, match=r"receipt\.md"):
        parse_template(SOURCE.format(text=text), file="receipt.md")


SOURCE = "---\nversion: 1\ndescription: d\nschema: null\n---\n{text}"
