"""What is wired to what, where no other test would notice."""

import pytest

from vision_pipeline.core.errors import BusyError, ConfigError
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.reparse import reparse_shard
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.pipeline.stored import reparse
from vision_pipeline.wiring.backfilling import open_reparse
from vision_pipeline.wiring.images import _fetch_settings
from vision_pipeline.wiring.library import find_key, load_catalogue, load_template
from vision_pipeline.wiring.services import build_question, open_services
from vision_pipeline.wiring.watch import Watch, watching


async def test_requests_on_the_wire_are_counted(recipe):
    progress = Progress()
    with watching(Watch(progress, Stop())):
        async with open_services(recipe) as services:
            await carry_out(services, analyze_shard)
    activity = progress.activity
    assert (activity.sent, activity.in_flight) == (4, 0)
    assert 1 <= activity.most_in_flight <= 4


async def test_an_output_behind_a_url_needs_a_ledger_of_its_own(recipe):
    output = recipe.output.model_copy(update={"path": "memory://out"})
    with pytest.raises(ConfigError, match=r"output\.ledger"):
        async with open_services(recipe.model_copy(update={"output": output})):
            pass


async def test_an_output_behind_a_url_holds_the_table(recipe, tmp_path):
    ledger = str(tmp_path / "l.sqlite")
    output = recipe.output.model_copy(update={"path": "memory://out-of-a-test", "ledger": ledger})
    async with open_services(recipe.model_copy(update={"output": output})) as services:
        summary = await carry_out(services, analyze_shard)
    assert summary.ok == 4
    assert services.results.finished_shards(summary.run_id) == {0}


async def test_replies_are_read_again_behind_a_url_too(recipe, tmp_path):
    ledger = str(tmp_path / "l.sqlite")
    output = recipe.output.model_copy(update={"path": f"memory:/{tmp_path}", "ledger": ledger})
    config = recipe.model_copy(update={"output": output})
    async with open_services(config) as services:
        run = await carry_out(services, analyze_shard)
    document = services.results.read_run(run.run_id)
    services.results.write_run(run.run_id, document | {"reading": 0})
    said = []
    with watching(Watch(Progress(), Stop(), say=said.append)):
        async with open_reparse(config, wait=False) as services:
            summary = await reparse(services, reparse_shard)
    assert (summary.ok, summary.calls) == (4, 0)
    assert said[0].startswith("4 stored replies to read")


async def test_a_reparse_is_kept_out_while_a_run_writes(recipe):
    async with open_services(recipe) as services:
        await carry_out(services, analyze_shard)
        with pytest.raises(BusyError, match="run of pictures"):
            async with open_reparse(recipe, wait=False):
                pytest.fail("two write")
    async with open_reparse(recipe, wait=False):
        with pytest.raises(BusyError, match="reparse of pictures"):
            async with open_services(recipe):
                pytest.fail("two write")


async def test_a_reparse_needs_no_key_and_no_living_model(recipe, tmp_path, monkeypatch):
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    run_file = tmp_path / "out" / "runs" / "r1.json"
    run_file.parent.mkdir(parents=True)
    run_file.write_text("{}")
    update = {"provider": "mistral", "name": "pixtral-12b-latest", "base_url": None}
    config = recipe.model_copy(update={"model": recipe.model.model_copy(update=update)})
    with pytest.raises(ConfigError, match="was retired on"):
        async with open_services(config):
            pass
    async with open_reparse(config, wait=False) as services:
        assert services.question.model == "pixtral-12b-latest"


def question_of(recipe, **model):
    changed = recipe.model_copy(update={"model": recipe.model.model_copy(update=model)})
    return build_question(changed, load_template(recipe.prompt), None).sha256


def test_an_answer_of_one_server_is_not_taken_for_another_ones(recipe):
    servers = [
        {"provider": "mistral", "base_url": None},
        {"provider": "mistral", "base_url": "http://127.0.0.1:1/v1"},
        {"provider": "openai", "base_url": "http://127.0.0.1:1/v1"},
        {"provider": "emulator", "engine": "ocr"},
        {"provider": "emulator", "engine": "synthetic"},
    ]
    assert len({question_of(recipe, **server) for server in servers}) == len(servers)


def test_regional_addresses_of_one_provider_share_answers(recipe):
    urls = [None, "https://api.mistral.ai/v1", "https://api.eu.mistral.ai/v1"]
    assert len({question_of(recipe, provider="mistral", base_url=url) for url in urls}) == 1


def test_limits_retries_and_output_are_no_part_of_the_question(recipe):
    limits = recipe.limits.model_copy(update={"max_in_flight": 3})
    changed = recipe.model_copy(update={"limits": limits, "name": "other"})
    assert question_of(changed) == question_of(recipe)


def test_retries_may_shorten_the_fetching_of_image_urls_and_never_lengthen_it(recipe):
    for retry, expected in (
        ({}, (30, (0.5, 2.0))),
        ({"timeout_s": 5, "max_attempts": 2}, (5, (0.5,))),
        ({"max_attempts": 1}, (30, ())),
    ):
        changed = recipe.model_copy(update={"retry": recipe.retry.model_copy(update=retry)})
        settings = _fetch_settings(changed)
        assert (settings.timeout_s, settings.backoffs_s) == expected


async def test_a_prompt_for_several_images_needs_groups(recipe):
    compare = recipe.model_copy(update={"prompt": "compare"})
    with pytest.raises(ConfigError, match=r"source\.group_by.*compare.*min_images"):
        async with open_services(compare):
            pass
    for path in ("pairs.tar", "shards/*"):
        source = recipe.source.model_copy(update={"path": path})
        async with open_services(compare.model_copy(update={"source": source})):
            pass


def test_a_template_may_be_named_by_its_path(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text("---\nversion: 1\ndescription: d\nschema: null\n---\nRead.")
    assert load_template(str(path)).name == "mine"


def test_a_template_path_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.md"):
        load_template("nowhere.md")


def test_a_server_without_a_key_needs_none(recipe):
    model = recipe.model.model_copy(update={"provider": "openai"})
    assert find_key(model, {}) is None


def test_a_named_variable_must_be_set(recipe):
    model = recipe.model.model_copy(update={"provider": "openai", "api_key_env": "TEAM_KEY"})
    with pytest.raises(ConfigError, match="TEAM_KEY"):
        find_key(model, {})


def test_the_working_directory_adds_models_to_the_catalogue(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    rows = "models: [{id: our-own, price: {input: 1, output: 2}}]"
    (tmp_path / "configs" / "models.yaml").write_text(rows)
    monkeypatch.chdir(tmp_path)
    catalogue = load_catalogue()
    assert catalogue.find("our-own").price.output == 2
    assert catalogue.find("mistral-small-2603") is not None


@pytest.mark.parametrize("key", ["usd", "usd_per_month"])
async def test_a_budget_in_money_for_a_model_without_a_price_is_refused(recipe, key):
    changes = {
        "model": recipe.model.model_copy(update={"name": "our-own-model"}),
        "budget": recipe.budget.model_copy(update={key: 1.0, "tokens": 5}),
    }
    with pytest.raises(ConfigError, match=rf"budget\.{key}: .*our-own-model"):
        async with open_services(recipe.model_copy(update=changes)):
            pass
