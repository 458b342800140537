"""How many requests go at once, whole runs against servers of all kinds in virtual time."""

import asyncio
import heapq
import math
import random
from statistics import median

import httpx
import orjson
import pytest

from tests.adapters.test_pacing import AUTO, IN_FLIGHT, OPEN, Run, assert_nothing_lost

ITEMS = 3000


class Server:
    """Serves so many at once and lets the rest wait; each request takes what its number says.

    Attributes:
        in_flight: How many were there as each request came.
    """

    def __init__(self, latencies_s, *, at_once=10**6):
        self._latencies_s = iter(latencies_s)
        self._places = asyncio.Semaphore(at_once)
        self.served = self.refused = self._going = 0
        self.in_flight = []

    async def __call__(self, _):
        self._going += 1
        self.in_flight.append(self._going)
        latency_s = next(self._latencies_s)
        async with self._places:
            await asyncio.sleep(latency_s)
        self._going -= 1
        self.served += 1
        message = {"message": {"content": "a cat"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1500, "completion_tokens": 100}
        content = orjson.dumps({"model": "m", "choices": [message], "usage": usage})
        return httpx.Response(200, content=content)


def ideal_s(latencies_s, at_once):
    """Seconds where so many go at all times."""
    free_s = [0.0] * at_once
    for latency_s in latencies_s:
        heapq.heapreplace(free_s, free_s[0] + latency_s)
    return max(free_s)


def scattered(dice, middle_s, sigma=0.2):
    return middle_s * math.exp(dice.gauss(0, sigma))


def step(before_s, after_s, *, after_items):
    return lambda dice, number: scattered(dice, before_s if number < after_items else after_s)


def blocks(length):
    return lambda dice, number: scattered(dice, 3 if number // length % 2 else 0.3)


def tail(sigma):
    return lambda dice, _: scattered(dice, 0.5, sigma)


def slow_ones(share):
    return lambda dice, _: scattered(dice, 10 if dice.random() < share else 0.5)


def latencies_of(latency_s, items=ITEMS):
    dice = random.Random(1)
    return [latency_s(dice, number) for number in range(items)]


@pytest.mark.parametrize("limits", [OPEN, AUTO], ids=["given", "auto"])
@pytest.mark.parametrize(
    ("latency_s", "slower"),
    [
        (step(0.5, 2, after_items=300), 1.1),
        (step(0.5, 4, after_items=300), 1.1),
        (step(0.1, 30, after_items=300), 1.1),
        (step(0.05, 1.5, after_items=100), 1.1),
        (blocks(400), 1.2),
        (blocks(100), 1.3),
        (tail(1.0), 1.15),
        (tail(1.2), 1.15),
        (tail(1.5), 1.15),
        (slow_ones(0.01), 1.1),
        (slow_ones(0.05), 1.1),
        (lambda dice, number: scattered(dice, 0.3 * 20 ** (number / ITEMS)), 1.15),
    ],
    ids=[
        "0.5 to 2 s",
        "0.5 to 4 s",
        "0.1 to 30 s",
        "a quick start",
        "small images before large ones",
        "short blocks",
        "a tail",
        "a long tail",
        "a very long tail",
        "1 % slow",
        "5 % slow",
        "ever slower",
    ],
)
def test_latency_that_is_not_ours_costs_no_throughput(latency_s, slower, limits):
    latencies_s = latencies_of(latency_s)
    run = Run(Server(latencies_s), ITEMS, limits)
    assert_nothing_lost(run)
    assert run.seconds <= slower * ideal_s(latencies_s, IN_FLIGHT)


@pytest.mark.parametrize("limits", [OPEN, AUTO], ids=["given", "auto"])
@pytest.mark.parametrize("at_once", [1, 3, 16])
def test_a_server_that_lets_requests_queue_is_kept_busy_and_not_flooded(at_once, limits):
    latencies_s = latencies_of(lambda dice, _: scattered(dice, 0.5))
    run = Run(Server(latencies_s, at_once=at_once), ITEMS, limits)
    assert_nothing_lost(run)
    assert run.seconds <= ideal_s(latencies_s, at_once) / 0.97
    assert median(run.provider.in_flight[ITEMS // 3 :]) <= 2 * at_once + 2


@pytest.mark.parametrize("limits", [OPEN, AUTO], ids=["given", "auto"])
def test_a_queue_in_front_of_very_uneven_requests_is_kept_filled(limits):
    latencies_s = latencies_of(tail(1.0))
    run = Run(Server(latencies_s, at_once=16), ITEMS, limits)
    assert_nothing_lost(run)
    assert run.seconds <= ideal_s(latencies_s, 16) / 0.9


def test_a_queue_that_begins_in_mid_run_is_found():
    """Others come: of 64 places 10 are left."""

    async def fill(server):
        await asyncio.sleep(8)
        await asyncio.gather(*(server._places.acquire() for _ in range(IN_FLIGHT - 10)))

    latencies_s = latencies_of(lambda dice, _: scattered(dice, 0.5))
    run = Run(Server(latencies_s, at_once=IN_FLIGHT), ITEMS, OPEN, fill)
    assert_nothing_lost(run)
    assert max(run.provider.in_flight[:900]) == IN_FLIGHT
    assert median(run.provider.in_flight[-1000:]) <= 22


def test_places_that_are_added_in_mid_run_are_used():
    async def add(server):
        await asyncio.sleep(60)
        for _ in range(60):
            server._places.release()

    latencies_s = latencies_of(lambda dice, _: scattered(dice, 0.5))
    run = Run(Server(latencies_s, at_once=4), ITEMS, OPEN, add)
    assert_nothing_lost(run)
    assert run.seconds <= 60 + 2 * ideal_s(latencies_s[480:], IN_FLIGHT)
