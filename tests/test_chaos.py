"""Runs that are killed again and again, by processes and sockets as users have them."""

import base64
import hashlib
import os
import random
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson
import pytest
from PIL import Image

from tests.commands import FORKS, run_command
from vision_pipeline.adapters.ledger.reserve import BYTES_PER_REPLY
from vision_pipeline.emulator.server import RunningEmulator, running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue

ITEMS, IN_FLIGHT, SHARD = 1000, 16, 100
PROMPT = "---\nversion: 1\ndescription: d\nschema: null\n---\nWhat is in this image?"


class Bench(NamedTuple):
    """A folder of images, a recipe, and who answers."""

    emulator: RunningEmulator
    recipe: Path
    out: Path

    def start(self) -> BaseProcess:
        process = FORKS.Process(target=run_command, args=(str(self.recipe),))
        process.start()
        return process

    def received(self) -> int:
        return int(self.get("stats")["received"])

    def get(self, what: str):
        return httpx.get(f"{self.emulator.base_url}/_emulator/{what}").json()

    def finish(self) -> None:
        """Run to the end, and hold the table against what was served."""
        process = self.start()
        process.join(120)
        assert process.exitcode == 0
        assert_every_answer_was_served(self)

    def repaid(self) -> int:
        return int(self.get("stats")["served"]) - ITEMS


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("chaos") / "images"
    folder.mkdir()
    for number in range(ITEMS):
        colour = (number % 250, number // 250, 7)
        Image.new("RGB", (20, 20), colour).save(folder / f"{number:04}.png")
    return folder


@pytest.fixture
def bench(images, tmp_path) -> Iterator[Bench]:
    settings = EmulatorSettings(latency_s=0.2, capture=True, most_captured=10**5)
    with running(settings, load_catalogue()) as emulator:
        yield Bench(emulator, write_recipe(tmp_path, images, emulator), tmp_path / "out")


def write_recipe(folder: Path, images: Path, emulator: RunningEmulator) -> Path:
    recipe, prompt = folder / "recipe.yaml", folder / "p.md"
    prompt.write_text(PROMPT)
    recipe.write_text(
        f"""
name: chaos
source: {{path: {images}}}
prompt: {prompt}
model: {{provider: emulator, engine: synthetic, base_url: "{emulator.base_url}/v1"}}
image: {{strip_metadata: false, verify: structure}}
limits: {{max_in_flight: {IN_FLIGHT}, requests_per_minute: 1000000, tokens_per_minute: 1000000000}}
output: {{path: {folder / "out"}, shard_size: {SHARD}}}
"""
    )
    return recipe


def assert_every_answer_was_served(bench: Bench) -> None:
    served = defaultdict(set)
    for request in bench.get("requests"):
        chunk = request["body"]["messages"][0]["content"][-1]["image_url"]
        payload = (chunk if isinstance(chunk, str) else chunk["url"]).partition(",")[2]
        digest = hashlib.sha256(base64.b64decode(payload)).hexdigest()
        if request["status"] == 200:
            served[digest].add(request["reply"]["choices"][0]["message"]["content"])
    rows = load(str(bench.out), runs="all")
    assert len(rows) == rows["item_id"].nunique() == ITEMS
    assert set(rows["status"]) == {"ok"}
    for row in rows.itertuples():
        assert row.reply_text == row.answer
        assert row.answer in served[row.image_sha256]


def replies_by_key(bench: Bench) -> list[int]:
    with sqlite3.connect(bench.out / "ledger.sqlite") as ledger:
        return [count for (count,) in ledger.execute("SELECT count(*) FROM replies GROUP BY key")]


def kill_at_random(
    bench: Bench, signals: Sequence[signal.Signals], *, kills: int, seed: int
) -> None:
    """Start the run and signal it: some while it starts or plans, most while it asks."""
    dice = random.Random(seed)
    for number in range(kills):
        before, wanted = bench.received(), dice.randrange(ITEMS // kills // 2)
        process = bench.start()
        if number % 6 == 0:
            process.join(dice.uniform(0.05, 1.0))
            wanted = 0
        while bench.received() < before + wanted and process.is_alive():
            pass
        with suppress(ProcessLookupError):  # it may have ended, with nothing left to ask
            os.kill(process.pid or 0, dice.choice(signals))
        process.join(60)
        assert process.exitcode is not None


def test_thirty_kills_of_all_kinds_cost_at_most_what_was_in_flight(bench):
    kill_at_random(bench, [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], kills=30, seed=1)
    bench.finish()
    assert bench.repaid() <= 30 * IN_FLIGHT
    assert set(replies_by_key(bench)) == {1}  # whatever the ledger had was not asked again
    assert not list(bench.out.rglob(".*.draft"))


def test_polite_signals_cost_nothing(bench):
    kill_at_random(bench, [signal.SIGTERM, signal.SIGINT], kills=10, seed=2)
    bench.finish()
    assert bench.repaid() == 0


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own that holds 500 kB beside the ledger's reserve."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = mount(place, f"size={500 * 1024 + IN_FLIGHT * BYTES_PER_REPLY}")
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S607


def mount(place: Path, options: str) -> subprocess.CompletedProcess[bytes]:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(command, check=False, capture_output=True)


def test_a_disk_that_fills_up_stops_the_run_and_more_room_finishes_it(bench, small_disk):
    bench = bench._replace(out=small_disk / "out")
    recipe = bench.recipe.read_text().replace(str(bench.recipe.parent / "out"), str(bench.out))
    bench.recipe.write_text(recipe)
    process = bench.start()
    process.join(120)
    assert process.exitcode == 3
    assert 0 < bench.received() < ITEMS
    assert not mount(small_disk, "remount,size=64m").returncode
    bench.finish()
    assert bench.repaid() == 0  # the reserve took what was on the wire
    assert set(replies_by_key(bench)) == {1}


def test_a_ledger_that_was_cut_is_salvaged_and_only_what_was_lost_is_paid_again(bench):
    one_shard = bench.recipe.read_text().replace(f"shard_size: {SHARD}", f"shard_size: {ITEMS}")
    bench.recipe.write_text(one_shard)  # so that no row is there yet of what is lost
    process = bench.start()
    while bench.received() < 3 * ITEMS // 4:
        assert process.is_alive()
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(60)
    ledger = bench.out / "ledger.sqlite"
    stored = keys_of(ledger)
    os.truncate(ledger, ledger.stat().st_size // 2)

    refused = ended("run", str(bench.recipe), "--engine", "local")
    assert refused.returncode == 2
    assert f"{ledger}: the ledger is damaged: it is cut off" in refused.stderr
    advice = re.search("`vision-pipeline (ledger salvage [^`]+)`", refused.stderr)
    assert advice is not None
    salvaged = ended(*shlex.split(advice[1]))
    assert (salvaged.returncode, salvaged.stderr) == (0, "")

    lost = len(stored - keys_of(ledger))
    assert 0 < lost < len(stored)
    bench.finish()
    assert lost <= bench.repaid() <= lost + IN_FLIGHT
    assert set(replies_by_key(bench)) == {1}


def keys_of(ledger: Path) -> set[str]:
    """The keys of all replies; of a killed run's ledger the log stays where it is."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        return {key.hex() for (key,) in connection.execute("SELECT key FROM replies")}


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that somebody types."""
    command = [sys.executable, "-c", "from vision_pipeline.cli.app import main; main()"]
    return subprocess.run(
        [*command, *arguments], check=False, capture_output=True, text=True, timeout=120
    )


def test_a_shard_that_was_deleted_comes_back_without_a_call(bench):
    bench.finish()
    asked = bench.received()
    next(bench.out.glob("results/*/shard-00003.parquet")).unlink()
    next(bench.out.glob("runs/*.json")).write_bytes(unfinished(bench))
    bench.finish()
    assert bench.received() == asked


def unfinished(bench: Bench) -> bytes:
    document = orjson.loads(next(bench.out.glob("runs/*.json")).read_bytes())
    return orjson.dumps(document | {"finished_at": None})
