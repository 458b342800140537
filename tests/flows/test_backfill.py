"""The flow `backfill` on a temporary Prefect server."""

import asyncio

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.analyze_images import analyze_images
from flows.backfill import backfill
from vision_pipeline.cli.engines import reparse_prefect
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.results import load

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


async def test_the_flow_is_told_what_to_do(recipe):
    with pytest.raises(ConfigError, match="reparse=True"):
        await backfill(recipe)


def test_the_flow_takes_the_config_as_its_form():
    parameters = backfill.parameters.model_dump()["properties"]
    assert set(parameters) == {"config", "reparse", "wait"}


def test_the_command_line_runs_the_flow(wider):
    config = asyncio.run(wider())
    said = []
    progress = Progress()
    summary = reparse_prefect(config, wait=False, progress=progress, stop=Stop(), say=said.append)
    assert (summary.ok, progress.done) == (4, 4)
    assert said[0].startswith("4 stored replies")
