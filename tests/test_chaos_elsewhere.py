"""Runs that are killed, with images and output in an object store and the ledger in a database."""

import os
import random
import signal
from contextlib import closing

import httpx
import psycopg
import pytest

from tests.commands import FORKS, run_elsewhere
from tests.servers import PASSWORD, png
from tests.test_chaos import PROMPT
from vision_pipeline.emulator.server import running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue

IN_FLIGHT = 16
ITEMS, KILLS = 150, 4


@pytest.fixture
def files(store):
    return store.files()


@pytest.fixture
def chaos(store, bucket, database, files, tmp_path):
    """Images, output and ledger elsewhere, and an emulator that remembers; starts processes."""
    for number in range(ITEMS):
        files.pipe_file(f"{bucket}/photos/{number:03}.png", png(number))
    prompt, recipe = tmp_path / "p.md", tmp_path / "recipe.yaml"
    prompt.write_text(PROMPT)
    settings = EmulatorSettings(latency_s=0.2, capture=True, most_captured=10**5)
    with running(settings, load_catalogue()) as emulator, httpx.Client() as client:
        recipe.write_text(
            f"""
name: chaos
source: {{path: "s3://{bucket}/photos"}}
prompt: {prompt}
model: {{provider: emulator, engine: synthetic, base_url: "{emulator.base_url}/v1"}}
image: {{strip_metadata: false, verify: structure}}
limits: {{max_in_flight: {IN_FLIGHT}, requests_per_minute: 100000, tokens_per_minute: 100000000}}
output: {{path: "s3://{bucket}/out", shard_size: 30, ledger: "{database.url}"}}
"""
        )
        yield Chaos(emulator, client, store.environment | {"PGPASSWORD": PASSWORD}, str(recipe))


class Chaos:
    def __init__(self, emulator, client, variables, recipe):
        self._emulator, self._variables, self._recipe = emulator, variables, recipe
        self._client = client

    def start(self):
        process = FORKS.Process(target=run_elsewhere, args=(self._variables, self._recipe))
        process.start()
        return process

    def get(self, what):
        return self._client.get(f"{self._emulator.base_url}/_emulator/{what}").json()

    def served(self):
        return int(self.get("stats")["served"])


def free(files, lock):
    """What else a minute and a half of waiting does: a killed process cannot."""
    if files.exists(lock):
        files.rm(lock)


def test_kills_cost_at_most_what_was_in_flight_with_everything_elsewhere(
    chaos, bucket, files, database
):
    dice = random.Random(3)
    for number in range(KILLS):
        before, wanted = chaos.served(), dice.randrange(ITEMS // KILLS // 2)
        process = chaos.start()
        while chaos.served() < before + wanted and process.is_alive():
            process.join(0.02)
        if number % 4 == 0:  # while it starts, or plans
            process.join(dice.uniform(0.05, 1.0))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(60)
        free(files, f"{bucket}/out/.lock.json")
    process = chaos.start()
    process.join(120)
    assert process.exitcode == 0
    rows = load(f"s3://{bucket}/out", runs="all")
    assert len(rows) == rows["item_id"].nunique() == ITEMS
    assert set(rows["status"]) == {"ok"}
    replies = {
        request["reply"]["choices"][0]["message"]["content"]
        for request in chaos.get("requests")
        if request["status"] == 200
    }
    assert set(rows["answer"]) <= replies
    with closing(psycopg.connect(database.url, password=PASSWORD)) as connection:
        counts = connection.execute(
            "SELECT count(*), count(DISTINCT key) FROM vision_pipeline_replies"
        ).fetchone()
    assert counts == (ITEMS, ITEMS)  # whatever the ledger had was not asked again
    assert chaos.served() - ITEMS <= KILLS * IN_FLIGHT
