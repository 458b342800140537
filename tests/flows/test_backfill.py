"""The flow `backfill` on a temporary Prefect server."""

import asyncio
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.analyze_images import analyze_images
from flows.backfill import backfill
from vision_pipeline.cli.engines import reparse_prefect, run_prefect
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.selection import Selection
from vision_pipeline.pipeline.chunks import Chunks
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.results import load
from vision_pipeline.wiring.services import Wish

PROMPT = """---
version: 1
description: What is on it.
schema: {type: object, properties: {what: {type: string}}, required: [what]}
---
Say what is on this image."""


@pytest.fixture
def wider(recipe, tmp_path):
    """A recipe whose images were answered, and whose schema is a wider one since."""
    prompt = tmp_path / "what.md"
    prompt.write_text(PROMPT)
    config = recipe.model_copy(update={"prompt": str(prompt), "name": "Read_Again"})

    async def answered():
        await analyze_images(config)
        prompt.write_text(PROMPT.replace("{type: string}", "{type: [string, number]}"))
        return config

    return answered


async def test_the_flow_reads_stored_replies_again_and_leaves_a_summary(wider):
    config = await wider()
    output = config.output.model_copy(update={"shard_size": 2})
    summary = await backfill(config.model_copy(update={"output": output}), reparse=True)
    assert (summary.ok, summary.calls) == (4, 0)
    assert load(config.output.path)["shard"].nunique() == 2
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["read-again-summary"]))
    async with get_client() as client:
        artifacts = await client.read_artifacts(artifact_filter=wanted)
    assert any("| from the ledger | 4 |" in artifact.data for artifact in artifacts)


async def test_the_flow_asks_about_a_part_of_the_source_in_chunks(recipe):
    # As a deployment passes them.
    summary = await backfill(recipe, select={"start": 1, "stop": 4}, chunk_items=2, pause_s=0.01)
    assert (summary.items, summary.calls) == (3, 3)
    assert load(recipe.output.path)["shard"].tolist() == [0, 0, 1]
    again = await backfill(recipe, select=Selection(codes=("timeout",)))
    assert (again.items, again.run_id) == (0, None)


async def test_too_many_errors_of_a_backfill_fail_its_flow_run(recipe):
    for number in range(3):
        (Path(recipe.source.path) / f"no-image-{number}.png").write_text("no image")
    state = await backfill(recipe, select={"stop": 100}, return_state=True)
    assert state.is_failed()
    assert "3 of 7 rows are errors (unreadable_image 3)" in state.message


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({}, "say which items"),
        ({"select": {"stop": 1}, "chunk_items": 0}, "at least 1"),
        ({"select": {"stop": 1}, "chunk_items": 1, "pause_s": float("nan")}, "0 or more"),
        ({"select": {"stop": 1}, "reparse": True}, "takes no selection"),
    ],
)
async def test_the_flow_is_told_what_to_do(recipe, parameters, told):
    with pytest.raises(ConfigError, match=told):
        await backfill(recipe, **parameters)


def test_the_flow_takes_the_config_and_the_selection_as_its_form():
    schema = backfill.parameters.model_dump()
    assert list(schema["properties"]) == [
        *("config", "select", "fresh", "chunk_items", "pause_s", "reparse", "wait"),
    ]
    assert set(schema["definitions"]["Selection"]["properties"]) == set(Selection.model_fields)


def test_the_command_line_asks_for_a_part_as_a_flow(recipe):
    said = []
    wish = Wish(selection=Selection(stop=2), chunks=Chunks(1))
    summary = run_prefect(recipe, wish, progress=Progress(), stop=Stop(), say=said.append)
    assert (summary.items, summary.ok) == (2, 2)
    assert said[0].startswith("2 items to ask about")


def test_the_command_line_runs_the_flow(wider):
    config = asyncio.run(wider())
    said = []
    progress = Progress()
    summary = reparse_prefect(config, wait=False, progress=progress, stop=Stop(), say=said.append)
    assert (summary.ok, progress.done) == (4, 4)
    assert said[0].startswith("4 stored replies")
