"""The flow `analyze_images` on a temporary Prefect server."""

import asyncio
import os
import subprocess
import sys

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.analyze_images import analyze_images
from flows.summary import markdown
from vision_pipeline.cli.engines import run_prefect
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.run import Summary
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.results import load


async def test_the_flow_writes_one_row_per_image(recipe):
    summary = await analyze_images(recipe)
    frame = load(recipe.output.path)
    assert sorted(frame["item_id"]) == ["0.png", "1.png", "2.png", "3.png"]
    assert set(frame["status"]) == {"ok"}
    assert summary.calls == 4


async def test_a_second_flow_run_asks_nothing(recipe):
    await analyze_images(recipe)
    summary = await analyze_images(recipe)
    assert (summary.calls, summary.already_answered) == (0, 4)


async def test_the_flow_leaves_a_summary_artifact(recipe):
    named = recipe.model_copy(update={"name": "Summed_Up"})
    await analyze_images(named)
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["summed-up-summary"]))
    async with get_client() as client:
        [artifact] = await client.read_artifacts(artifact_filter=wanted)
    assert "| answered | 4 |" in artifact.data
    assert recipe.output.path in artifact.data


async def test_a_flow_run_is_named_and_tagged_after_its_recipe(recipe):
    state = await analyze_images(recipe, return_state=True)
    async with get_client() as client:
        flow_run = await client.read_flow_run(state.state_details.flow_run_id)
    assert flow_run.name.startswith("pictures-2")


async def test_each_shard_is_one_task(recipe):
    output = recipe.output.model_copy(update={"shard_size": 2})
    state = await analyze_images(recipe.model_copy(update={"output": output}), return_state=True)
    summary = await state.result()
    assert summary.items == 4
    assert len(list((load(recipe.output.path)["shard"]).unique())) == 2


async def test_a_run_error_reaches_the_caller_as_itself(recipe):
    with pytest.raises(ConfigError, match="no template"):
        await analyze_images(recipe.model_copy(update={"prompt": "nothing_like_it"}))


async def test_a_missing_secret_block_is_named(recipe):
    model = recipe.model.model_copy(update={"api_key_block": "no-such-block"})
    with pytest.raises(ConfigError, match="no-such-block"):
        await analyze_images(recipe.model_copy(update={"model": model}))


async def test_a_cancelled_flow_ends_and_the_next_one_finishes(recipe):
    running = asyncio.create_task(analyze_images(recipe))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    summary = await analyze_images(recipe)
    assert summary.ok == 4


def test_every_field_of_the_form_has_its_place():
    schema = RunConfig.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    for section in [section for section in sections if "properties" in section]:
        places = [field["position"] for field in section["properties"].values()]
        assert places == list(range(len(places)))


def test_the_flow_takes_the_config_as_its_form():
    parameters = analyze_images.parameters.model_dump()["properties"]
    assert set(parameters) == {"config", "fresh", "retry", "wait"}


def test_a_summary_shows_errors_with_their_meaning_and_escapes_pipes():
    summary = Summary(
        run_id="r",
        resumed=False,
        items=2,
        ok=1,
        errors={"timeout": 1},
        already_answered=0,
        already_failed=0,
        skipped={},
        repaired=0,
        from_ledger=0,
        calls=1,
        prompt_tokens=1234,
        completion_tokens=1,
        cost_usd=None,
        seconds=1.0,
        results="out/results",
        models={"a|b": 2},
    )
    text = markdown("n", summary)
    assert "| timeout | 1 | no reply in time" in text
    assert "| a\\|b | 2 |" in text
    assert "unknown (no list price)" in text
    assert "| input tokens | 1,234 |" in text


def test_the_command_line_runs_the_flow(recipe):
    progress = Progress()
    summary = run_prefect(recipe, progress=progress, stop=Stop())
    assert (summary.ok, progress.done) == (4, 4)


def test_prefects_settings_are_read_before_prefect_is_imported():
    script = (
        "from vision_pipeline.cli.engines import run_prefect\n"
        "from flows.analyze_images import analyze_images\n"
        "from prefect.settings import get_current_settings\n"
        "print(get_current_settings().server.ephemeral.startup_timeout_seconds)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert ended.stdout.strip() == "90"


def test_a_server_that_is_not_there_is_one_message(recipe, tmp_path):
    settings = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_HOME": str(tmp_path)}
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_defaults=True)))
    command = "from vision_pipeline.cli.app import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", command, "run", str(recipe_file), "--engine", "prefect"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | settings,
    )
    assert ended.returncode == 3
    assert "--engine local" in ended.stderr
    assert "Traceback" not in ended.stderr
