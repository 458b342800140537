"""The flow `analyze_images` on a temporary Prefect server."""

import asyncio
import logging
import os
import subprocess
import sys
from dataclasses import replace

import httpx
import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.analyze_images import analyze_images
from flows.artifacts import description, percentage, shown
from flows.summary import markdown
from vision_pipeline.cli.engines import run_prefect
from vision_pipeline.core.config import AlertsConfig, RunConfig
from vision_pipeline.core.errors import ConfigError, ErrorCode, StoppedError
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.results import load

SUMMARY = Summary(
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
    schema = analyze_images.parameters.model_dump()
    assert set(schema["properties"]) == {"config", "fresh", "retry", "wait"}
    assert schema["definitions"]["ErrorCode"]["enum"] == list(ErrorCode)


def test_a_summary_shows_errors_with_their_meaning_and_escapes_pipes():
    text = markdown("n", SUMMARY)
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


def test_a_stopped_run_is_cancelled_and_says_so_to_the_command_line(recipe):
    stop = Stop()
    stop.by_user()
    with pytest.raises(StoppedError, match="goes on from here"):
        run_prefect(recipe, progress=Progress(), stop=stop)


async def state_of(recipe, **wishes):
    return await analyze_images(recipe, **wishes, return_state=True)


async def test_a_run_with_few_errors_is_completed(recipe, pictures):
    (pictures / "bad.png").write_bytes(b"no image")
    state = await state_of(recipe)
    assert state.is_completed()
    assert state.message.startswith("4 answered, 1 errors, 0.0")


async def test_a_run_with_more_errors_than_its_alerts_allow_is_failed(recipe, pictures):
    for number in range(3):
        (pictures / f"bad-{number}.png").write_bytes(b"no image")
    state = await state_of(recipe)
    assert state.is_failed()
    assert "3 of 7 rows are errors (unreadable_image 3)" in state.message
    assert "alerts.max_error_share: 0.1" in state.message
    assert len(load(recipe.output.path)) == 7


async def test_alerts_can_be_turned_off(recipe, pictures):
    for number in range(3):
        (pictures / f"bad-{number}.png").write_bytes(b"no image")
    silent = recipe.model_copy(update={"alerts": AlertsConfig(max_error_share=1)})
    assert (await state_of(silent)).is_completed()


def test_the_command_line_gets_the_summary_of_an_alarming_run(recipe, pictures):
    for number in range(3):
        (pictures / f"bad-{number}.png").write_bytes(b"no image")
    summary = run_prefect(recipe, progress=Progress(), stop=Stop())
    assert (summary.ok, summary.failed, summary.exit_code) == (4, 3, 1)


async def test_a_run_error_is_the_message_of_a_failed_state(recipe):
    state = await state_of(recipe.model_copy(update={"prompt": "nothing_like_it"}))
    assert state.is_failed()
    assert "no template" in state.message
    assert "encountered an exception" not in state.message


async def test_nothing_to_do_is_completed_and_said(recipe):
    await analyze_images(recipe)
    assert (await state_of(recipe)).message == "nothing to do"


async def artifacts_of(key):
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    async with get_client() as client:
        return await client.read_artifacts(artifact_filter=wanted)


async def test_a_progress_artifact_ends_at_100_percent(recipe):
    await analyze_images(recipe.model_copy(update={"name": "Followed"}))
    [artifact] = await artifacts_of("followed-progress")
    assert artifact.data == 100
    assert artifact.description.startswith("4 of 4 · 0 errors")


async def test_a_progress_artifact_of_a_failed_run_tells_how_far_it_came():
    @flow
    async def breaking():
        progress = Progress()
        async with shown("Broken", progress):
            progress.begin(4)
            progress.done = 3
            raise ConfigError("such as a refused key")

    with pytest.raises(ConfigError):
        await breaking()
    [artifact] = await artifacts_of("broken-progress")
    assert artifact.data == 75


def test_progress_is_told_in_a_line():
    progress = Progress()
    assert (percentage(progress), description(progress)) == (0, "listing the source")
    progress.waits_for = "run of a"
    assert description(progress) == "waiting for run of a"
    progress.waits_for = ""
    progress.begin(0)
    assert (percentage(progress), description(progress)) == (100, "nothing to do")
    progress.begin(2000)
    progress.done, progress.cost_usd = 1500, 0.25
    progress.errors["timeout"] = 3
    assert percentage(progress) == 75
    assert description(progress) == "1,500 of 2,000 · 3 errors · 0.2500 USD"


def test_a_summary_names_failures_one_by_one_and_takes_no_markup_from_them():
    failure = {"item_id": "<b>*a*|b.png", "error_code": "timeout", "error_detail": "x" * 300}
    text = markdown("n", replace(SUMMARY, failures=[failure]))
    assert "## Errors, one by one" in text
    assert "| \\<b\\>\\*a\\*\\|b.png | timeout | " + "x" * 199 + "… |" in text
    many = replace(SUMMARY, errors={"timeout": 5000}, failures=[failure] * 200)
    assert "## The first 200 of 5,000 errors" in markdown("n", many)


def test_a_summary_tells_where_the_time_went_and_links_what_a_browser_can_follow():
    stages = {"endpoint": 9.0, "preparation": 1.0}
    text = markdown("n", replace(SUMMARY, seconds_by_stage=stages, results="s3://b/out/results"))
    assert "| endpoint | 9.0 | 90% |" in text
    assert "[`s3://b/out/results`](<s3://b/out/results>)" in text


async def test_a_server_that_is_away_fails_no_run(recipe, monkeypatch):
    async def away(*_arguments, **_named):
        raise httpx.ConnectError("away")

    for name in ("acreate_progress_artifact", "acreate_markdown_artifact"):
        monkeypatch.setattr(f"flows.artifacts.{name}", away)
    summary = await analyze_images(recipe)
    assert summary.ok == 4


class Kept(logging.Handler):
    """Keeps messages."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


async def test_runs_and_shards_are_logged_to_prefect_images_are_not(recipe, pictures, monkeypatch):
    (pictures / "bad.png").write_bytes(b"no image")
    kept, prefects = Kept(), logging.getLogger("prefect.extra")
    monkeypatch.setattr(prefects, "handlers", [kept])
    monkeypatch.setattr(prefects, "level", logging.INFO)
    await analyze_images(recipe)
    begins, shard, ends = kept.messages
    assert begins.endswith("begins: 5 items, 1 shards to do")
    assert ": 5 rows, 1 errors, " in shard
    assert " ends: 4 answered, 1 errors, 4 calls, " in ends
    assert logging.getLogger("vision_pipeline.pipeline.run").handlers == []
