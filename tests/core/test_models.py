"""The catalogue of models: names, prices, rules, retirement."""

from datetime import date

import pytest

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.models import ModelSpec, Price, is_retired, parse_catalogue
from vision_pipeline.core.tokens import DEFAULT_RULE, TokenRule

TODAY = date(2026, 11, 22)


def catalogue(*rows, more=()):
    return parse_catalogue({"models": list(rows)}, {"models": list(more)}, file="models.yaml")


def ids(models):
    return [model.id for model in models]


def test_a_model_is_found_by_id_and_by_alias():
    known = catalogue({"id": "small-2603", "aliases": ["small", "small-latest"]})
    assert {known.find(name) for name in ("small-2603", "small", "small-latest")} == set(known)


def test_an_unknown_model_is_no_error():
    assert catalogue().find("mine") is None


def test_an_id_wins_over_an_alias():
    known = catalogue({"id": "a"}, {"id": "b", "aliases": ["a"]})
    assert known.find("a").id == "a"


def test_a_later_row_replaces_an_earlier_one_whole():
    known = catalogue(
        {"id": "a", "aliases": ["old"], "max_images": 2},
        more=[{"id": "a", "aliases": ["new"]}],
    )
    assert ids(known) == ["a"]
    assert known.find("a").max_images == 8
    assert known.find("new").id == "a"
    assert known.find("old") is None


def test_a_later_row_takes_an_alias_over():
    known = catalogue(
        {"id": "a", "aliases": ["latest"]},
        {"id": "b", "aliases": ["latest"]},
        more=[{"id": "a", "aliases": ["latest"]}],
    )
    assert known.find("latest").id == "a"


def test_a_row_without_a_rule_has_the_usual_one():
    assert ModelSpec(id="a").rule == DEFAULT_RULE
    assert ModelSpec(id="a", patch_px=16, max_side_px=1024).rule == TokenRule(16, 1024)


def test_a_model_is_retired_from_its_last_day_on():
    model = ModelSpec(id="old", retired_on=TODAY, replacement="new")
    assert is_retired(model, TODAY)
    assert not is_retired(model, date(2026, 11, 21))
    assert not is_retired(ModelSpec(id="new"), TODAY)


def test_a_retired_model_names_its_replacement():
    known = catalogue({"id": "old", "retired_on": "2026-07-31", "replacement": "new"})
    assert known.find("old").replacement == "new"


def test_living_models_are_those_that_see_and_are_not_retired():
    known = catalogue(
        {"id": "old", "retired_on": "2026-07-31"},
        {"id": "blind", "vision": False},
        {"id": "leaving", "retired_on": "2026-12-31"},
        {"id": "new"},
    )
    assert ids(known.living(TODAY)) == ["leaving", "new"]


@pytest.mark.parametrize(
    ("cached_input", "cost_usd"),
    [(0.015, 0.15 * 0.75 + 0.015 * 0.25 + 0.6), (None, 0.15 + 0.6), (0, 0.15 * 0.75 + 0.6)],
)
def test_a_reply_costs_its_fresh_cached_and_completion_tokens(cached_input, cost_usd):
    price = Price(input=0.15, output=0.6, cached_input=cached_input)
    tokens = {"prompt_tokens": 10**6, "completion_tokens": 10**6, "cached_tokens": 250_000}
    assert price.cost_usd(**tokens) == pytest.approx(cost_usd)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"id": "a", "prise": {}}, ["models[1].prise"]),
        ({"aliases": []}, ["models[1].id", "required"]),
        ({"id": "a", "patch_px": 0}, ["models[1].patch_px", "0", "greater"]),
        ({"id": "a", "price": {"input": -1, "output": 1}}, ["models[1].price.input", "-1"]),
        ({"id": "a", "retired_on": "soon"}, ["models[1].retired_on", "'soon'"]),
        ("a", ["models[1]:", "'a'"]),
    ],
)
def test_a_bad_row_is_named(row, parts):
    with pytest.raises(ConfigError) as caught:
        catalogue({"id": "good"}, row)
    assert [part for part in ["models.yaml", *parts] if part not in str(caught.value)] == []


def test_a_catalogue_that_is_no_list_is_refused():
    with pytest.raises(ConfigError, match=r"models\.yaml: models: expected a list"):
        parse_catalogue({"models": {"id": "a"}}, file="models.yaml")


@pytest.mark.parametrize("document", [{}, {"models": None}, {"models": []}])
def test_a_catalogue_may_be_empty(document):
    assert list(parse_catalogue(document, file="models.yaml")) == []


def test_a_batch_takes_its_share_of_every_price():
    price = Price(input=1.0, output=3.0, cached_input=0.5, batch=0.25).batch_price
    assert (price.input, price.output, price.cached_input) == (0.25, 0.75, 0.125)
    assert Price(input=1.0, output=3.0).batch_price == Price(input=0.5, output=1.5, batch=1.0)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_the_share_of_a_batch_is_between_nothing_and_all(share):
    row = {"id": "m", "price": {"input": 1, "output": 1, "batch": share}}
    with pytest.raises(ConfigError, match=r"models\[0\]\.price\.batch"):
        parse_catalogue({"models": [row]}, file="models.yaml")
