"""The configuration: defaults, bounds, and what forms and files rely on."""

import pytest
from pydantic import BaseModel, ValidationError

from vision_pipeline.core.config import (
    AlertsConfig,
    BudgetConfig,
    ExecutionConfig,
    ImageConfig,
    LimitsConfig,
    ModelConfig,
    OutputConfig,
    RetryConfig,
    RunConfig,
    SharedQuotaConfig,
    SourceConfig,
)

SMALLEST = {
    "name": "receipts",
    "source": {"path": "data/samples"},
    "prompt": "receipt_fields",
    "output": {"path": "data/outputs"},
}
SECTIONS = [
    RunConfig,
    SourceConfig,
    ModelConfig,
    ImageConfig,
    LimitsConfig,
    SharedQuotaConfig,
    RetryConfig,
    BudgetConfig,
    ExecutionConfig,
    OutputConfig,
]


def test_four_keys_are_enough():
    config = RunConfig.model_validate(SMALLEST)
    assert (config.model.provider, config.model.name) == ("mistral", "mistral-small-2603")
    assert (config.model.temperature, config.model.max_tokens) == (0, 1000)
    assert (config.image.max_side_px, config.image.quality) == (1540, 90)
    assert (config.image.format, config.image.verify) == ("auto", "full")
    assert config.image.strip_metadata
    assert (config.limits.requests_per_minute, config.limits.tokens_per_minute) == ("auto", "auto")
    assert config.limits.max_in_flight == 64
    assert (config.retry.max_attempts, config.retry.max_elapsed_s) == (6, 600)
    assert config.budget.usd is None
    assert config.output.shard_size == 500


def test_nothing_that_is_closed_is_open_by_default():
    source = SourceConfig(path="images")
    assert not source.follow_links
    assert not source.allow_private_urls


def test_an_order_within_groups_needs_groups():
    with pytest.raises(ValidationError, match="group_by"):
        SourceConfig(manifest="a.csv", order_by="page")
    assert SourceConfig(manifest="a.csv", group_by="pair", order_by="page").order_by == "page"


def test_a_configuration_saved_is_the_configuration_read():
    config = RunConfig.model_validate(
        SMALLEST
        | {
            "source": {"manifest": "a.csv", "group_by": "pair", "column_types": {"zip": "string"}},
            "model": {"extra_body": {"reasoning_effort": "high", "deep": [{"a": None}]}},
            "limits": {"requests_per_minute": 30},
        }
    )
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_a_configuration_does_not_change():
    config = RunConfig.model_validate(SMALLEST)
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "other"


@pytest.mark.parametrize("section", SECTIONS)
def test_forms_know_the_order_of_fields(section: type[BaseModel]):
    properties = section.model_json_schema()["properties"]
    assert [field["position"] for field in properties.values()] == list(range(len(properties)))


@pytest.mark.parametrize("section", SECTIONS)
def test_forms_say_what_each_field_is_for(section: type[BaseModel]):
    schema = section.model_json_schema()
    assert not schema["title"].endswith("Config")
    for field in schema["properties"].values():
        assert "$ref" in field or field["description"]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_refuses_unknown_keys(section):
    with pytest.raises(ValidationError, match="Extra inputs"):
        section.model_validate({"surprise": 1})


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        (SourceConfig, {}),
        (SourceConfig, {"path": "a", "manifest": "b.csv"}),
        (SourceConfig, {"path": "a", "group_by": "pair"}),
        (SourceConfig, {"path": "a", "id_column": "id"}),
        (SourceConfig, {"path": "a", "limit": 0}),
        (ModelConfig, {"provider": "openai"}),
        (ModelConfig, {"provider": "azure"}),
        (ModelConfig, {"name": ""}),
        (ModelConfig, {"base_url": "localhost:8000"}),
        (ModelConfig, {"base_url": "file:///etc/passwd"}),
        (ModelConfig, {"temperature": 1.6}),
        (ModelConfig, {"temperature": -0.1}),
        (ModelConfig, {"temperature": float("nan")}),
        (ModelConfig, {"top_p": 0}),
        (ModelConfig, {"max_tokens": 0}),
        (ModelConfig, {"random_seed": -1}),
        (ModelConfig, {"extra_body": {"a": object()}}),
        (ImageConfig, {"max_side_px": 15}),
        (ImageConfig, {"max_side_px": 10_001}),
        (ImageConfig, {"quality": 96}),
        (ImageConfig, {"format": "webp"}),
        (ImageConfig, {"max_source_bytes": 0}),
        (ImageConfig, {"max_source_pixels": 0}),
        (LimitsConfig, {"requests_per_minute": 0}),
        (LimitsConfig, {"requests_per_minute": -1}),
        (LimitsConfig, {"tokens_per_minute": "soon"}),
        (LimitsConfig, {"tokens_per_minute": 1.5}),
        (LimitsConfig, {"tokens_per_minute": None}),
        (LimitsConfig, {"max_in_flight": 0}),
        (LimitsConfig, {"max_in_flight": 1025}),
        (RetryConfig, {"max_attempts": 0}),
        (RetryConfig, {"max_elapsed_s": -1}),
        (RetryConfig, {"timeout_s": 0}),
        (BudgetConfig, {"usd": 0}),
        (OutputConfig, {}),
        (OutputConfig, {"path": ""}),
        (OutputConfig, {"path": "a", "shard_size": 0}),
        (RunConfig, SMALLEST | {"name": "a b"}),
        (RunConfig, SMALLEST | {"name": "../a"}),
        (RunConfig, SMALLEST | {"prompt": ""}),
    ],
)
def test_what_is_out_of_bounds_is_refused(section, keys):
    with pytest.raises(ValidationError):
        section.model_validate(keys)


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        (SourceConfig, {"path": "a", "limit": 1}),
        (SourceConfig, {"manifest": "a.csv", "group_by": "pair", "id_column": "id"}),
        (ModelConfig, {"provider": "openai", "base_url": "http://localhost:8000/v1"}),
        (ModelConfig, {"provider": "emulator", "temperature": 1.5, "top_p": 1}),
        (ImageConfig, {"max_side_px": 10_000, "quality": 95}),
        (LimitsConfig, {"requests_per_minute": 1, "tokens_per_minute": "auto"}),
        (RetryConfig, {"max_attempts": 1, "max_elapsed_s": 0}),
    ],
)
def test_what_is_at_the_bounds_is_taken(section, keys):
    taken = section.model_validate(keys)
    assert {key: getattr(taken, key) for key in keys} == keys


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"limits": {"max_in_flight": True}}, "true is neither"),
        ({"limits": {"requests_per_minute": True}}, "requests_per_minute"),
        ({"retry": {"max_elapsed_s": float("inf")}}, "finite"),
        ({"model": {"extra_body": {"stream": True}}}, "extra_body.stream"),
        ({"image": {"send": "url"}}, "source.manifest"),
    ],
)
def test_values_that_would_pass_and_mean_something_else_are_refused(change, told):
    document = {
        "name": "n",
        "source": {"path": "x"},
        "prompt": "describe",
        "output": {"path": "o"},
    }
    with pytest.raises(ValidationError, match=told):
        RunConfig.model_validate(document | change)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"base_url": "http://user:secret@host/v1"}, "no user or password"),
        ({"base_url": "http://"}, "no address"),
        ({"base_url": "http://host:99999/v1"}, "no address"),
        ({"base_url": "http://a b c/v1"}, "no address"),
        ({"extra_body": {"max_tokens": 200}}, "extra_body.max_tokens"),
        ({"extra_body": {"deep": [{"x": 2**70}]}}, "64 bits"),
        (
            {"extra_body": {"fine": [True, 1.5, "x", None, 3]}, "api_key_env": "sk-key"},
            "a variable",
        ),
        ({"max_tokens": 10**30}, "10000000"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused(model, told):
    with pytest.raises(ValidationError, match=told):
        ModelConfig.model_validate(model)


def test_extra_fields_may_be_any_json():
    extra = {"fine": [True, 1.5, "x", None, 3], "nested": {"a": -1}}
    assert ModelConfig.model_validate({"extra_body": extra}).extra_body == extra


@pytest.mark.parametrize(
    ("rows", "errors", "are_due"),
    [(100, 11, True), (100, 10, False), (2, 2, False), (3, 3, True), (0, 0, False)],
)
def test_alerts_are_due_beyond_the_share_and_the_number_of_errors(rows, errors, are_due):
    assert AlertsConfig().are_due(rows=rows, errors=errors) is are_due


def test_a_ledger_may_be_a_file_or_a_database():
    for place in ("replies.sqlite", "postgresql://user@host/database"):
        assert OutputConfig.model_validate({"path": "out", "ledger": place}).ledger == place


def test_several_processes_are_for_a_shared_quota():
    shared = {"name": "vision", "share": 0.5}
    limits = {"requests_per_minute": 60, "tokens_per_minute": 10**6, "shared": shared}
    config = SMALLEST | {"execution": {"runner": "dask"}, "limits": limits}
    assert RunConfig.model_validate(config).execution.runner == "dask"
