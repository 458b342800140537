"""The emulator in a process of its own."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from vision_pipeline.adapters.emulator_process import start_emulator
from vision_pipeline.core.errors import ConfigError, EndpointError

MODELS = Path(__file__).parents[2] / "configs" / "models.yaml"


def children():
    """Ids of the processes that this one has started and that have not ended."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


async def newcomer(before):
    """The id of the process that has been started since."""
    while not (found := set(children()) - set(before)):  # noqa: ASYNC110  (nothing tells of it)
        await asyncio.sleep(0)
    return int(found.pop())


async def start_and_leave(**settings):
    async with start_emulator(**{"engine": "synthetic", "models": MODELS} | settings):
        raise AssertionError("it came up")


async def test_an_emulator_answers_until_its_block_ends():
    async with httpx.AsyncClient(trust_env=False) as client:
        async with start_emulator(engine="synthetic", models=MODELS) as base_url:
            listed = await client.get(f"{base_url}/models", headers={"Authorization": "Bearer any"})
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{base_url}/models")
    assert base_url.endswith("/v1")
    assert "mistral-small-2603" in {row["id"] for row in listed.json()["data"]}


async def test_an_emulator_that_cannot_start_says_why_in_plain_words(tmp_path):
    missing = tmp_path / "models.yaml"
    with pytest.raises(ConfigError) as caught:
        await start_and_leave(models=missing)
    said = str(caught.value)
    assert said.startswith(f"the emulator did not start: --models {missing}: ")
    assert said.endswith(f"No such file or directory: '{missing}'")


async def test_a_cause_of_several_lines_becomes_one(tmp_path):
    (tmp_path / "models.yaml").write_text("models: [\n")
    with pytest.raises(ConfigError, match=r"while parsing a flow node .* line 2") as caught:
        await start_and_leave(models=tmp_path / "models.yaml")
    assert "\n" not in str(caught.value)


async def test_of_a_traceback_the_last_line_is_shown(tmp_path, monkeypatch):
    (tmp_path / "yaml.py").write_text("raise ImportError('half an installation')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EndpointError) as caught:
        await start_and_leave()
    said = str(caught.value)
    assert said == "the emulator did not start: ImportError: half an installation"


async def test_an_emulator_that_takes_too_long_is_ended():
    before = children()
    with pytest.raises(EndpointError, match=r"did not start within 0\.001 s"):
        await start_and_leave(start_timeout_s=0.001)
    assert children() == before


async def test_an_emulator_that_ends_without_a_word_is_told_of():
    before = children()
    starting = asyncio.create_task(start_and_leave())
    os.kill(await newcomer(before), signal.SIGKILL)
    with pytest.raises(EndpointError, match="did not start: it said nothing"):
        await starting


async def test_an_emulator_that_does_not_end_is_killed():
    before = children()
    async with start_emulator(engine="synthetic", models=MODELS, stop_timeout_s=0.05):
        os.kill(await newcomer(before), signal.SIGSTOP)
    assert children() == before


async def test_an_emulator_that_has_died_is_no_trouble():
    before = children()
    async with start_emulator(engine="synthetic", models=MODELS):
        os.kill(await newcomer(before), signal.SIGKILL)
    assert children() == before
