"""Sliding windows, by a clock that the test moves."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from vision_pipeline.emulator.app import create_app
from vision_pipeline.emulator.limits import RateLimits, SlidingWindow
from vision_pipeline.emulator.problems import RefusalError
from vision_pipeline.emulator.settings import EmulatorSettings

TOKEN_HEADERS = {"x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute"}


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def test_a_window_frees_what_is_sixty_seconds_old():
    window = SlidingWindow(10)
    window.spend(4, 0.0)
    window.spend(5, 30.0)
    assert window.remaining(59.9) == 1
    assert window.remaining(60.0) == 5
    assert window.remaining(90.0) == 10


def test_a_burst_passes_up_to_the_limit_and_is_refused_beyond():
    quota = RateLimits(requests_per_minute=4, tokens_per_minute=None).of("m")
    for _ in range(4):
        quota.admit(0.0)
    with pytest.raises(RefusalError) as refused:
        quota.admit(0.1)
    assert refused.value.status == 429
    assert "Retry-After" not in refused.value.headers


def test_tokens_are_debited_afterwards_so_that_a_window_overshoots():
    quota = RateLimits(requests_per_minute=None, tokens_per_minute=100).of("m")
    quota.admit(0.0)
    quota.admit(0.0)
    quota.settle(90, 1.0)
    assert quota.settle(90, 2.0)["x-ratelimit-remaining-tokens-minute"] == "0"
    with pytest.raises(RefusalError):
        quota.admit(3.0)
    quota.admit(61.0)


def test_models_do_not_share_a_quota():
    limits = RateLimits(requests_per_minute=1, tokens_per_minute=None)
    limits.of("a").admit(0.0)
    limits.of("b").admit(0.0)


class Line:
    """Calls an application in this loop."""

    def __init__(self, catalogue, clock, **settings):
        app = create_app(EmulatorSettings(**settings), catalogue, clock=clock)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://emulator",
            headers={"authorization": "Bearer x"},
        )

    async def chat(self, model="mistral-small-2603"):
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        return await self.client.post("/v1/chat/completions", json=body)


async def test_headers_count_down_on_answers_and_the_window_slides(catalogue):
    clock = Clock()
    line = Line(catalogue, clock, requests_per_minute=2, tokens_per_minute=1000)
    first, alias, refused = [
        await line.chat(name)
        for name in ("mistral-small-2603", "mistral-small-latest", "mistral-small-2603")
    ]
    assert first.headers["x-ratelimit-remaining-req-minute"] == "1"
    assert first.headers["x-ratelimit-limit-tokens-minute"] == "1000"
    assert alias.headers["x-ratelimit-remaining-req-minute"] == "0"
    assert refused.status_code == 429
    assert refused.json()["code"] == "1300"
    assert refused.headers["x-ratelimit-remaining-req-minute"] == "0"
    assert not TOKEN_HEADERS & set(refused.headers)
    assert "retry-after" not in refused.headers
    assert (await line.chat("mistral-large-2512")).status_code == 200
    clock.now_s += 60
    assert (await line.chat()).status_code == 200


async def test_a_refusal_by_tokens_carries_the_token_headers(catalogue):
    line = Line(catalogue, Clock(), tokens_per_minute=1)
    served, refused = await line.chat(), await line.chat()
    cost = served.json()["usage"]["total_tokens"]
    assert served.headers["x-ratelimit-tokens-query-cost"] == str(cost)
    assert refused.status_code == 429
    assert set(refused.headers) >= TOKEN_HEADERS


@pytest.mark.parametrize("limit", ["requests_per_minute", "tokens_per_minute"])
async def test_a_limit_of_zero_refuses_for_ever(catalogue, limit):
    clock = Clock()
    line = Line(catalogue, clock, **{limit: 0})
    assert (await line.chat()).status_code == 429
    clock.now_s += 1000
    refused = await line.chat()
    assert refused.status_code == 429
    assert refused.json()["code"] == "1300"


async def test_a_burst_at_once_is_cut_at_the_limit(catalogue):
    line = Line(catalogue, Clock(), requests_per_minute=4)
    statuses = [
        reply.status_code for reply in await asyncio.gather(*(line.chat() for _ in range(8)))
    ]
    assert sorted(statuses) == [200] * 4 + [429] * 4
