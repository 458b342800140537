"""Configurations as text: what a user gets told."""

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.config_file import parse_config, parse_mapping
from vision_pipeline.core.errors import ConfigError

SMALLEST = """\
name: receipts
source: {path: data/samples}
prompt: receipt_fields
output: {path: data/outputs}
"""


def parse(more="", *, overrides=()):
    more = dedent(more)
    given = {line.partition(":")[0] for line in more.splitlines()}
    lines = [line for line in SMALLEST.splitlines() if line.partition(":")[0] not in given]
    text = "\n".join([*lines, more])
    return parse_config(text, file="receipts.yaml", overrides=overrides)


def complaint(more="", *, overrides=()):
    with pytest.raises(ConfigError) as caught:
        parse(more, overrides=overrides)
    return str(caught.value)


def missing(parts, text):
    return [part for part in parts if part not in text]


def test_a_configuration_is_read():
    config = parse("model: {max_tokens: 5}")
    assert (config.name, config.model.max_tokens) == ("receipts", 5)


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ("promt: x", ["promt: unknown key", "did you mean `prompt`?", "known: name, source"]),
        ("model: {nmae: x}", ["model.nmae: unknown key", "`name`", "provider, name"]),
        ("image: {max_side: 9}", ["image.max_side: unknown key", "`max_side_px`"]),
        ("limits: {interval: 3}", ["limits.interval: unknown key", "requests_per_minute"]),
        ("integer: 3", ["integer: unknown key", "known: name"]),
        ("int: 3", ["int: unknown key"]),
        ("tuple: 3", ["tuple: unknown key"]),
        ("output: {path: a, zzz: 1}", ["output.zzz: unknown key; known: path"]),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(more, parts):
    assert missing(["receipts.yaml: ", *parts], complaint(more)) == []


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (
            "image: {quality: high}",
            ["image.quality: 'high'", "a whole number from 1 to 95"],
        ),
        ("image: {quality: 96}", ["image.quality: 96", "from 1 to 95"]),
        ("image: {format: gif}", ["image.format: 'gif'", "'auto', 'jpeg' or 'png'"]),
        ("model: {name: 3}", ["model.name: 3", "allowed: text"]),
        ("model: {temperature: .nan}", ["model.temperature: nan"]),
        ("model: {base_url: host/v1}", ["model.base_url: 'host/v1'", "^https?://"]),
        ("model: {provider: openai}", ["model: provider `openai` needs `base_url`"]),
        ("model: {extra_body: {on: 2026-01-31}}", ["model.extra_body", "JSON"]),
        ("image: {verify: off}", ["image.verify: false", "'full', 'structure'", "quotes"]),
        ("image: []", ["image: [] is not allowed; allowed: keys and values"]),
        ("budget:", ["budget: None is not allowed; allowed: keys and values"]),
        ("limits: {requests_per_minute: soon}", ["limits.requests_per_minute: 'soon'", "auto"]),
        (
            "limits: {shared: {name: team}, requests_per_minute: 1, tokens_per_minute: 1}",
            ["limits: `shared.name` needs `shared.share`", "0.25"],
        ),
        (
            "limits: {shared: {name: team, share: 0.5}, tokens_per_minute: 1}",
            ["limits: `requests_per_minute` is auto", "a number"],
        ),
        (
            "limits: {shared: {name: team, share: 0.5}, requests_per_minute: 1}",
            ["limits: `tokens_per_minute` is auto", "1000000000"],
        ),
        ("limits: {shared: {share: 0}}", ["limits.shared.share: 0", "a number above 0 to 1"]),
        ("execution: {runner: spark}", ["execution.runner: 'spark'", "'threads', 'dask' or 'ray'"]),
        ("execution: {runner: dask}", ["execution.runner: dask", "limits.shared"]),
        ("execution: {runner: ray, mode: batch}", ["needs one process only", "not ray"]),
        ("execution: {workers: 2}", ["execution: `address` and `workers`", "dask or ray"]),
        (
            "limits: {shared: {name: team, share: 0.5}, requests_per_minute: 1, "
            "tokens_per_minute: 1}\nexecution: {runner: ray}\nbudget: {usd: 5}",
            ["execution.runner: ray cannot watch budget.usd"],
        ),
        (
            "limits: {shared: {name: team, share: 0.5}, requests_per_minute: 1, "
            "tokens_per_minute: 1}\nexecution: {runner: ray}\nbudget: {tokens_per_month: 5}",
            ["execution.runner: ray cannot watch budget.tokens_per_month"],
        ),
        ("limits: {shared: {nme: team}}", ["limits.shared.nme: unknown key", "name"]),
        ("limits: {tokens_per_minute: 0}", ["limits.tokens_per_minute: 0", "auto", "at least 1"]),
        ("limits: {tokens_per_minute: [1]}", ["limits.tokens_per_minute: [1]"]),
        ("source: {path: a, include: 3}", ["source.include: 3", "allowed: a list"]),
        ("source: {path: a, follow_links: 3}", ["source.follow_links: 3", "true or false"]),
        ("image: {max_image_tokens: 1}", ["a whole number from 2 to", ", or null"]),
        ("image: {max_decode_s: 0}", ["allowed: a number above 0 to 3,600"]),
        ("image: {send: url}", ["receipts.yaml: image.send: url needs a source.manifest"]),
        ("source: {path: a, include: [3]}", ["source.include.0: 3"]),
        ("source: {path: a, column_types: {int_a: 5}}", ["source.column_types.int_a: 5"]),
        ("source: {}", ["source: give exactly one of `path`", "`manifest`"]),
        ("source: {path: a, manifest: b}", ["source: give exactly one of `path`", "`manifest`"]),
        ("source: {path: a, group_by: b}", ["source: `group_by` and `id_column`", "`manifest`"]),
        ("output: {}", ["output.path: required, but not set"]),
        ("on: 3", ["True is not allowed; allowed: Keys should be strings"]),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(more, parts):
    assert missing(["receipts.yaml: ", *parts], complaint(more)) == []


def test_a_bad_value_of_a_union_is_one_complaint():
    assert "\n" not in complaint("limits: {requests_per_minute: soon}")


def test_all_faults_are_told_at_once():
    told = complaint("promt: x\nimage: {quality: 0}\nmodel: {nmae: x}").splitlines()
    assert len(told) == 3
    assert all(line.startswith("receipts.yaml: ") for line in told)


def test_a_long_value_is_cut():
    assert len(complaint(f"image: {{quality: {'9x' * 500}}}")) < 250


def test_keys_that_are_missing_are_named():
    with pytest.raises(ConfigError) as caught:
        parse_config("name: a", file="a.yaml")
    parts = ["source: required", "prompt: required", "output: required"]
    assert missing(parts, str(caught.value)) == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: [1, 2\nc: 3", ["a.yaml:3:2", "not valid YAML"]),
        ("a: 1\n\tb: 2", ["a.yaml:2:1", "not valid YAML"]),
        ("a: *nowhere", ["a.yaml:1:4", "nowhere"]),
        ("a: !!python/object:os.system {}", ["a.yaml:1:4", "not valid YAML"]),
        ("[a]: 1", ["a.yaml:1:1", "not valid YAML"]),
        ("a: 2026-13-45", ["a.yaml: not valid YAML", "month"]),
        ("a: {b: 1}\nc: 1\na: {b: 2}", ["a.yaml:3:1", "the key 'a' is there twice", "line 1"]),
        ("x:\n  b: 1\n  'b': 2", ["a.yaml:3:3", "the key 'b' is there twice", "line 2"]),
        ("a: \x01", ["a.yaml: not valid YAML"]),
        ("a: " + "[" * 1200, ["a.yaml: not valid YAML", "depth"]),
        ("", ["a.yaml: expected keys and values, found None"]),
        ("- a\n- b", ["a.yaml: expected keys and values", "['a', 'b']"]),
        ("just text", ["a.yaml: expected keys and values", "'just text'"]),
    ],
)
def test_text_that_is_no_mapping_is_refused_with_its_place(text, parts):
    with pytest.raises(ConfigError) as caught:
        parse_mapping(text, file="a.yaml")
    assert missing(parts, str(caught.value)) == []


def value_at(config, key):
    for part in key.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("name=other", "other"),
        ("image.quality=85", 85),
        ("image.quality='85'", 85),
        ("model.name='2603'", "2603"),
        ("model.name=a=b", "a=b"),
        ("model.temperature=null", None),
        ("model.temperature=", None),
        ("model.extra_body={reasoning_effort: high}", {"reasoning_effort": "high"}),
        ("model.extra_body.effort=high", {"effort": "high"}),
        ("source.include=['*.jpg', '*.png']", ("*.jpg", "*.png")),
        ("limits.requests_per_minute=auto", "auto"),
        ("budget.usd=1.5", 1.5),
    ],
)
def test_an_override_sets_a_value_in_yaml(override, value):
    key = override.partition("=")[0].removesuffix(".effort")
    assert value_at(parse(overrides=[override]), key) == value


def test_an_override_goes_before_the_file_and_leaves_its_neighbours():
    config = parse("image: {quality: 80, format: png}", overrides=["image.quality=85"])
    assert (config.image.quality, config.image.format) == (85, "png")


def test_overrides_apply_in_order():
    config = parse(overrides=["image={quality: 80, format: png}", "image.quality=85"])
    assert (config.image.quality, config.image.format) == (85, "png")


def test_a_heading_with_nothing_under_it_can_be_filled():
    assert parse("budget:\n  # usd: 5\n", overrides=["budget.usd=1"]).budget.usd == 1


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("image.quality", ["--set image.quality:", "KEY=VALUE"]),
        ("=85", ["--set =85:", "KEY=VALUE"]),
        ("", ["KEY=VALUE"]),
        ("image..quality=85", ["--set image..quality=85:", "KEY=VALUE"]),
        (".name=a", ["KEY=VALUE"]),
        ("name.first=a", ["--set name.first=a:", "`name` is a value, not a section"]),
        ("image.quality=[", ["--set image.quality=[:", "'['", "not a YAML value"]),
        ("source.include=*.jpg", ["'*.jpg' is not a YAML value"]),
        ("name=2026-13-45", ["'2026-13-45' is not a YAML value"]),
        ("name=" + "[" * 1200, ["not a YAML value"]),
        ("image.qualty=85", ["image.qualty: unknown key", "`quality`"]),
        ("imge.quality=85", ["imge: unknown key", "`image`"]),
        ("model.name=3", ["model.name: 3", "allowed: text"]),
    ],
)
def test_a_bad_override_is_named(override, parts):
    assert missing(parts, complaint(overrides=[override])) == []


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_no_text_is_worse_than_a_complaint(text):
    with pytest.raises(ConfigError, match=r"\Aa\.yaml"):
        parse_config(text, file="a.yaml")


@pytest.mark.parametrize(
    ("overrides", "origin"),
    [
        (["image.quality=1", "image.quality=200"], "--set image.quality=200: image.quality: 200"),
        (["image=3"], "--set image=3: image: 3"),
        (["source.manifest=b"], "a.yaml with --set source.manifest=b: source: give exactly one"),
        (["image.format=png"], "a.yaml: image.quality: 96"),
    ],
)
def test_a_fault_is_blamed_on_what_caused_it(overrides, origin):
    text = "{name: a, source: {path: a}, prompt: p, output: {path: o}, image: {quality: 96}}"
    with pytest.raises(ConfigError) as caught:
        parse_config(text, file="a.yaml", overrides=overrides)
    assert any(line.startswith(origin) for line in str(caught.value).splitlines())


def test_what_may_be_a_secret_in_place_of_a_variable_is_not_repeated():
    with pytest.raises(ConfigError) as caught:
        parse(overrides=["model.api_key_env=sk-not for logs"])
    assert "--set model.api_key_env: " in str(caught.value)
    assert "sk-not" not in str(caught.value)
