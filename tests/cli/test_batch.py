"""Runs by the Batch API, by commands and processes as users have them, against the emulator."""

import os
import random
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson
import pytest
from mistralai.client import Mistral
from PIL import Image

from tests.commands import FORKS, run_command
from vision_pipeline.emulator.server import RunningEmulator, running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue

ITEMS, IN_A_JOB = 120, 25


class Bench(NamedTuple):
    """A folder of images, a recipe, and who answers."""

    emulator: RunningEmulator
    recipe: Path
    out: Path

    def stats(self) -> dict[str, int]:
        answer = httpx.get(f"{self.emulator.base_url}/_emulator/stats").json()
        return answer["batch"] | {"received": answer["received"]}


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    settings = getattr(request, "param", {})
    images = tmp_path / "images"
    images.mkdir()
    for number in range(ITEMS):
        Image.new("RGB", (20, 20), (number, 7, 7)).save(images / f"{number:03}.png")
    prompt, recipe, out = tmp_path / "p.md", tmp_path / "recipe.yaml", tmp_path / "out"
    prompt.write_text("---\nversion: 1\ndescription: d\nschema: null\n---\nWhat is in this image?")
    behaviour = {"batch_queue_s": 0.1, "batch_run_s": 0.4} | settings
    with running(EmulatorSettings(**behaviour), load_catalogue()) as emulator:
        recipe.write_text(
            f"""
name: batches
source: {{path: {images}}}
prompt: {prompt}
model: {{provider: emulator, engine: synthetic, base_url: "{emulator.base_url}/v1"}}
batch: {{max_requests: {IN_A_JOB}, max_inline_requests: 0, poll_s: 0.2}}
execution: {{mode: batch}}
output: {{path: {out}, shard_size: 40}}
"""
        )
        yield Bench(emulator, recipe, out)


def test_steps_taken_one_by_one_come_to_a_table(bench, command):
    submitted = command("batch", "submit", bench.recipe)
    assert submitted.code == 0
    told = " ".join(submitted.err.split())
    assert re.search(r"5 batch jobs are under way, \d+ of 120 requests done; collect with", told)
    assert f"batch collect {bench.recipe}`" in told
    jobs = orjson.loads(command("batch", "status", bench.recipe, "--json").out)
    assert sum(job["requests"] for job in jobs) == ITEMS
    collected = command("batch", "collect", bench.recipe, "--wait", "--json")
    assert collected.code == 0
    assert orjson.loads(collected.out)["ok"] == ITEMS
    assert "no batch job is under way" in command("batch", "status", bench.recipe).out
    frame = load(str(bench.out))
    assert len(frame) == ITEMS
    assert set(frame["mode"]) == {"batch"}
    assert bench.stats()["lines_succeeded"] == ITEMS
    assert bench.stats()["received"] == 0  # none was asked in real time


def test_the_vendors_client_sees_the_same_jobs(bench, command):
    command("batch", "submit", bench.recipe)
    ours = orjson.loads(command("batch", "status", bench.recipe, "--json").out)
    with Mistral(api_key="a-key", server_url=bench.emulator.base_url) as client:
        listed = client.batch.jobs.list().data or []
    assert {job.id for job in listed} == {job["job_id"] for job in ours}
    assert sum(job.total_requests for job in listed) == ITEMS


@pytest.mark.parametrize("bench", [{"batch_queue_s": 60.0}], indirect=True)
def test_cancelled_jobs_are_gone_and_a_run_in_real_time_asks_for_the_rest(bench, command):
    command("batch", "submit", bench.recipe)
    refused = command("run", bench.recipe, "--mode", "realtime")
    assert refused.code == 3
    assert "may bring answers" in " ".join(refused.err.split())
    cancelled = command("batch", "cancel", bench.recipe, "--set", "batch.wait_s=0")
    assert "5 batch jobs have ended" in " ".join(cancelled.err.split())
    collected = command("batch", "collect", bench.recipe)
    assert collected.code == 3
    assert "were cancelled, and nothing is under way" in " ".join(collected.err.split())
    finished = command("run", bench.recipe, "--mode", "realtime")
    assert finished.code == 0
    assert set(load(str(bench.out))["mode"]) == {"realtime"}
    assert bench.stats()["received"] == ITEMS


def test_a_collector_without_a_run_has_nothing_to_do(bench, command):
    ended = command("batch", "collect", bench.recipe)
    assert (ended.code, "nothing to do" in ended.out) == (0, True)
    assert bench.stats()["jobs"] == 0


@pytest.mark.parametrize("bench", [{"faults": {"line_http_500": 0.1}}], indirect=True)
def test_lines_that_fail_are_asked_again_in_further_jobs(bench, command):
    ended = command("run", bench.recipe, "--json")
    assert ended.code in (0, 1)
    summary = orjson.loads(ended.out)
    assert summary["ok"] == bench.stats()["lines_succeeded"]
    assert bench.stats()["lines_failed"] > 0
    assert set(summary["errors"]) <= {"model_unavailable"}
    assert summary["items"] == ITEMS


@pytest.mark.parametrize(
    "bench",
    [{"faults": {"upload_lost": 0.4, "job_lost": 0.4, "poll_502": 0.2, "output_cut": 0.2}}],
    indirect=True,
)
def test_lost_answers_make_no_job_twice(bench, command):
    ended = command("run", bench.recipe, "--json")
    assert ended.code == 0
    stats = bench.stats()
    assert (stats["jobs"], stats["lines_succeeded"]) == (5, ITEMS)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_at_any_moment_submit_nothing_twice(bench, seed):
    dice = random.Random(seed)
    for _ in range(10):
        process = FORKS.Process(target=run_command, args=(str(bench.recipe),))
        process.start()
        process.join(dice.uniform(0.2, 1.5))
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, dice.choice([signal.SIGKILL, signal.SIGTERM]))
        process.join(60)
        assert process.exitcode is not None
    process = FORKS.Process(target=run_command, args=(str(bench.recipe),))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    frame = load(str(bench.out), runs="all")
    assert len(frame) == frame["item_id"].nunique() == ITEMS
    assert set(frame["status"]) == {"ok"}
    stats = bench.stats()
    assert stats["lines_succeeded"] == ITEMS
    assert stats["received"] == 0
    assert frame["prompt_tokens"].sum() == stats["prompt_tokens"]
    assert not any(re.match("part", each.name) for each in bench.out.rglob("part-*.json"))


def test_jobs_are_not_left_with_an_emulator_that_ends_with_the_command(bench, command):
    alone = ("--set", "model.base_url=null")
    ended = command("batch", "submit", bench.recipe, *alone)
    assert ended.code == 2
    assert "ends with it, and so do its batch jobs" in " ".join(ended.err.split())
    assert command("run", bench.recipe, *alone, "--limit", "5").code == 0
    assert len(load(str(bench.out))) == 5


@pytest.mark.parametrize("bench", [{"batch_queue_s": 60.0}], indirect=True)
def test_the_same_question_is_not_asked_beside_open_jobs(bench, command):
    command("batch", "submit", bench.recipe, "--limit", "30")
    for asking in (("run", bench.recipe), ("plan", bench.recipe, "--sample", "2")):
        refused = command(*asking)
        assert refused.code == 3
        assert "may bring answers to this" in " ".join(refused.err.split())
    assert bench.stats()["received"] == 0


def test_submitting_under_a_budget_says_what_is_left_out(bench, command):
    ended = command("batch", "submit", bench.recipe, "--max-tokens", "20000")
    assert ended.code == 3
    assert "under way" in ended.err
    assert "budget.tokens" in ended.err
