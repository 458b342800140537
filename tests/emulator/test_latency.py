"""How long answers take, in virtual time."""

from __future__ import annotations

import asyncio
from random import Random
from statistics import median

import pytest

from tests.virtual_time import run_virtually
from vision_pipeline.emulator.latency import vendor_latency_s


def draws(model_id, count=4000, **tokens):
    rng = Random(1)
    return [vendor_latency_s(model_id, rng=rng, **tokens) for _ in range(count)]


def test_the_median_is_start_plus_reading_plus_writing():
    drawn = draws("ministral-8b-2512", prompt_tokens=6000, completion_tokens=91)
    assert median(drawn) == pytest.approx(0.4 + 1 + 1, rel=0.05)


def test_one_in_a_hundred_is_far_slower():
    drawn = draws("mistral-small-2603", count=20_000, prompt_tokens=0, completion_tokens=0)
    assert sum(seconds > 0.4 * 4 for seconds in drawn) == pytest.approx(130, abs=50)


def test_a_model_writes_at_the_rate_of_its_family():
    fast, slow, unknown = [
        median(draws(name, prompt_tokens=0, completion_tokens=1000))
        for name in ("ministral-3b-2512", "mistral-medium-2505", "someone")
    ]
    assert fast < slow < unknown


def timed(line, contents, **settings):
    """How long each answer took, asked one after the other, in virtual time."""

    async def work():
        loop = asyncio.get_running_loop()
        api = line(clock=loop.time, **settings)
        took_s = []
        for content in contents:
            began_s = loop.time()
            reply = await api.chat(content=content)
            took_s.append((reply.status_code, round(loop.time() - began_s, 4)))
        return took_s

    return run_virtually(work())


def test_a_latency_is_repeated_by_its_seed_and_its_body(line):
    texts = [f"question {number}" for number in range(5)]
    forth = timed(line, texts, latency_model="vendor")
    back = timed(line, texts[::-1], latency_model="vendor")
    assert forth == back[::-1]
    assert len(set(forth)) == 5
    assert forth != timed(line, texts, latency_model="vendor", seed=1)


def test_the_constant_is_the_least_that_the_vendors_model_takes(line):
    assert timed(line, ["a"], latency_model="vendor", latency_s=100.0) == [(200, 100.0)]
    assert timed(line, ["a"], latency_s=2.5) == [(200, 2.5)]


def test_errors_take_their_time_too_under_the_vendors_model(line):
    [_, refused] = timed(line, ["a", "b"], latency_model="vendor", requests_per_minute=1)
    assert refused == (429, 0.3)
    assert timed(line, ["a"], latency_model="vendor", faults={"http_503": 1.0}) == [(503, 0.3)]
    assert timed(line, ["a"], faults={"http_503": 1.0}) == [(503, 0.0)]


def test_a_slow_answer_comes_after_five_minutes(line):
    assert timed(line, ["a"], faults={"slow": 1.0}) == [(200, 300.0)]


def test_a_client_in_the_same_process_that_gives_up_is_counted(line):
    async def work():
        api = line(clock=asyncio.get_running_loop().time, faults={"slow": 0.5, "stall": 0.5})
        for number in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(60):
                    await api.chat(content=str(number))
        return await api.stats()

    stats = run_virtually(work())
    assert stats["received"] == stats["abandoned"] + stats["faulted"] == 20
    assert stats["abandoned"] == stats["faults"]["slow"] > 0
    assert stats["faulted"] == stats["faults"]["stall"] > 0
    assert stats["in_flight"] == 0


def test_the_counts_add_up_at_every_moment(line):
    faults = {"slow": 0.1, "http_500": 0.2, "length": 0.2, "reset": 0.1}

    async def work():
        loop = asyncio.get_running_loop()
        api = line(clock=loop.time, faults=faults, requests_per_minute=100, latency_model="vendor")

        async def one(number):
            await asyncio.sleep(number * 0.1)
            try:
                async with asyncio.timeout(5):
                    await api.chat(content=str(number))
            except (TimeoutError, ConnectionResetError):
                pass

        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(one(number))
            for number in range(40):
                await asyncio.sleep(1)
                if number == 10:
                    await api.http.post("/_emulator/reset")
                stats = await api.stats()
                ended = ("served", "refused", "faulted", "abandoned", "in_flight")
                assert stats["received"] == sum(stats[key] for key in ended)
        return stats

    stats = run_virtually(work())
    assert stats["in_flight"] == 0
    assert sum(stats["statuses"].values()) == stats["received"] - stats["abandoned"] - stats[
        "faults"
    ].get("reset", 0)
