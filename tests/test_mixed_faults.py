"""A run of 2,000 images in which every fifth request meets a fault, over real sockets."""

import asyncio
import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import orjson
import pandas as pd
import pytest
from PIL import Image

from vision_pipeline.core.config import RunConfig
from vision_pipeline.emulator.server import RunningEmulator, running
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.results import load
from vision_pipeline.wiring.library import load_catalogue
from vision_pipeline.wiring.services import open_services

ITEMS = 2000
TRANSIENT = {
    "http_500": 0.02,
    "http_502": 0.01,
    "http_503": 0.01,
    "http_504": 0.01,
    "http_520": 0.01,
    "reset": 0.02,
    "stall": 0.005,
    "empty_body": 0.01,
    "cut_body": 0.01,
}
REFUSALS = {"rate_limited": 0.01, "capacity": 0.001}
HARMLESS = {"chunk_list": 0.009, "fenced": 0.005}
REPAIRED = {"null_content": 0.01, "invalid_json": 0.01, "off_schema": 0.01}
PERMANENT = {
    "bad_image": ("refused_request", 0.01),
    "unfetchable_image": ("refused_request", 0.005),
    "body_too_large": ("image_too_large", 0.005),
    "too_long": ("image_too_large", 0.005),
    "guardrail": ("content_filtered", 0.005),
    "length": ("truncated_answer", 0.01),
}
CODES = {kind: code for kind, (code, _) in PERMANENT.items()} | dict.fromkeys(
    REPAIRED, "invalid_answer"
)
FAULTS = (
    TRANSIENT
    | REFUSALS
    | HARMLESS
    | REPAIRED
    | {kind: share for kind, (_, share) in PERMANENT.items()}
)
TEMPLATE = """---
version: 1
description: Names what is there.
schema:
  type: object
  properties: {colour: {type: string}, amount: {type: integer}}
---
What is there?"""


class Ended(NamedTuple):
    """A run, and what the emulator says of it."""

    summary: Summary
    rows: pd.DataFrame
    stats: dict[str, Any]
    requests: list[dict[str, Any]]


@pytest.fixture(scope="module")
def emulator() -> Iterator[RunningEmulator]:
    assert sum(FAULTS.values()) == pytest.approx(0.2)
    settings = EmulatorSettings(
        faults=FAULTS, latency_s=0.02, seed=11, capture=True, most_captured=10**5
    )
    with running(settings, load_catalogue()) as started:
        yield started


@pytest.fixture(scope="module")
def ended(emulator, tmp_path_factory) -> Ended:
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "images").mkdir()
    (folder / "p.md").write_text(TEMPLATE)
    for number in range(ITEMS):
        colour = (number % 256, number // 256, 128)
        Image.new("RGB", (32, 32), colour).save(folder / "images" / f"{number:04}.png")
    config = RunConfig.model_validate(
        {
            "name": "mixed",
            "source": {"path": str(folder / "images")},
            "prompt": str(folder / "p.md"),
            "model": {
                "provider": "emulator",
                "engine": "synthetic",
                "base_url": f"{emulator.base_url}/v1",
            },
            "image": {"strip_metadata": False, "verify": "structure"},
            "limits": {"requests_per_minute": 10**6, "tokens_per_minute": 10**9},
            "retry": {"timeout_s": 3, "max_attempts": 12},
            "output": {"path": str(folder / "out"), "shard_size": 250},
        }
    )

    async def run() -> Summary:
        async with open_services(config) as services:
            return await carry_out(services, analyze_shard)

    summary = asyncio.run(run())
    stats, requests = (
        httpx.get(f"{emulator.base_url}/_emulator/{what}").json() for what in ("stats", "requests")
    )
    return Ended(summary, load(str(folder / "out")), stats, requests)


@pytest.fixture(scope="module")
def requests_by_sha(ended) -> dict[str, list[dict[str, Any]]]:
    """What was asked of each image, in order, by the digest of its bytes."""
    found = defaultdict(list)
    for request in ended.requests:
        url = request["body"]["messages"][0]["content"][-1]["image_url"]
        payload = (url if isinstance(url, str) else url["url"]).partition(",")[2]
        found[hashlib.sha256(base64.b64decode(payload)).hexdigest()].append(request)
    return found


def content_of(reply: dict[str, Any]) -> str | None:
    content = reply["choices"][0]["message"]["content"]
    if isinstance(content, list):
        return "".join(chunk.get("text", "") for chunk in content)
    return content


def test_every_image_has_one_row(ended):
    assert len(ended.rows) == ended.rows["item_id"].nunique() == ITEMS
    assert ended.summary.items == ITEMS


def test_every_answer_is_what_was_served_last_for_that_image(ended, requests_by_sha):
    answered = ended.rows[ended.rows["status"] == "ok"]
    assert len(answered) > 0.9 * ITEMS
    for row in answered.itertuples():
        last = requests_by_sha[row.image_sha256][-1]
        assert last["fault"] is None or last["fault"] in HARMLESS
        assert row.reply_text == content_of(last["reply"])
        plain = row.reply_text.removeprefix("```json\n").removesuffix("\n```")
        for name, value in orjson.loads(plain).items():
            cell = getattr(row, name)
            assert pd.isna(cell) if value is None else cell == value


def test_every_error_names_the_fault_that_the_image_met(ended, requests_by_sha):
    failed = ended.rows[ended.rows["status"] == "error"]
    assert set(failed["error_code"]) >= set(dict(PERMANENT.values()))
    for row in failed.itertuples():
        last = requests_by_sha[row.image_sha256][-1]
        assert row.error_code == CODES[last["fault"]], row.error_detail
        if last["status"] != 200:
            said = last["reply"].get("message") or last["reply"].get("detail")
            assert said in row.error_detail


def test_an_image_without_a_permanent_fault_has_an_answer(ended, requests_by_sha):
    for row in ended.rows.itertuples():
        faults = [request["fault"] for request in requests_by_sha[row.image_sha256]]
        spoiled = sum(fault in REPAIRED for fault in faults)
        if not set(faults) & set(PERMANENT) and spoiled < 2:
            assert row.status == "ok", faults


def test_counts_agree_with_those_of_the_server(ended):
    faults = Counter(request["fault"] for request in ended.requests if request["fault"])
    stats, traffic = ended.stats, ended.summary.traffic
    assert stats["faults"] == faults
    assert stats["received"] == traffic["sent"] == len(ended.requests)
    assert traffic["refused"] == sum(faults[kind] for kind in REFUSALS)
    assert traffic["failed"] == sum(faults[kind] for kind in TRANSIENT)
    broken = faults["empty_body"] + faults["cut_body"]
    assert ended.summary.calls == stats["served"] - broken
    received = [each for each in ended.requests if each["status"] == 200]
    usages = [each["reply"]["usage"] for each in received if isinstance(each["reply"], dict)]
    for what in ("prompt_tokens", "completion_tokens"):
        assert getattr(ended.summary, what) == sum(usage[what] for usage in usages)
