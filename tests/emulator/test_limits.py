"""What answers and refusals say about limits, by a clock that the test moves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

from vision_pipeline.emulator.rate_headers import span

TOKEN_HEADERS = {"x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute"}


async def test_headers_count_down_on_answers_and_the_window_slides(line):
    api = line(requests_per_minute=2, tokens_per_minute=1000)
    first, alias, refused = [
        await api.chat(name)
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
    assert (await api.chat("mistral-large-2512")).status_code == 200
    api.clock.now_s += 60
    assert (await api.chat()).status_code == 200


async def test_a_refusal_by_tokens_carries_the_token_headers(line):
    api = line(tokens_per_minute=1)
    served, refused = await api.chat(), await api.chat()
    cost = served.json()["usage"]["total_tokens"]
    assert served.headers["x-ratelimit-tokens-query-cost"] == str(cost)
    assert refused.status_code == 429
    assert set(refused.headers) >= TOKEN_HEADERS


@pytest.mark.parametrize("limit", ["requests_per_minute", "tokens_per_minute"])
@pytest.mark.parametrize("kind", ["window", "second", "bucket"])
async def test_a_limit_of_zero_refuses_everything(line, limit, kind):
    refused = await line(limit_kind=kind, retry_after="seconds", **{limit: 0}).chat()
    assert refused.status_code == 429
    assert refused.json()["code"] == "1300"
    assert "retry-after" not in refused.headers


async def test_a_burst_at_once_is_cut_at_the_limit(line):
    api = line(requests_per_minute=4)
    statuses = [
        reply.status_code for reply in await asyncio.gather(*(api.chat() for _ in range(8)))
    ]
    assert sorted(statuses) == [200] * 4 + [429] * 4


async def test_refusals_by_limits_are_counted_among_the_refused(line):
    api = line(requests_per_minute=2)
    await api.statuses(3)
    await api.http.post("/v1/chat/completions", json={})
    stats = await api.stats()
    assert (stats["served"], stats["refused"], stats["rate_limited"]) == (2, 2, 1)
    assert stats["statuses"] == {"200": 2, "429": 1, "422": 1}


async def test_a_second_admits_a_sixtieth_of_the_limit(line):
    api = line(requests_per_minute=120, limit_kind="second")
    assert await api.statuses(3) == [200, 200, 429]
    api.clock.now_s += 1
    assert await api.statuses(3) == [200, 200, 429]


async def test_a_bucket_refills_while_time_passes(line):
    api = line(requests_per_minute=120, limit_kind="bucket", burst_s=1.5)
    assert await api.statuses(4) == [200, 200, 200, 429]
    api.clock.now_s += 0.5
    assert await api.statuses(2) == [200, 429]


async def test_the_legacy_set_tells_of_tokens_only(line):
    api = line(requests_per_minute=5, tokens_per_minute=1000, rate_headers="legacy")
    reply = await api.chat()
    cost = reply.json()["usage"]["total_tokens"]
    told = {name: value for name, value in reply.headers.items() if "ratelimit" in name}
    assert told == {
        "ratelimitbysize-limit": "1000",
        "ratelimitbysize-remaining": str(1000 - cost),
        "ratelimitbysize-reset": "60",
        "ratelimitbysize-query-cost": str(cost),
        "x-ratelimitbysize-limit-minute": "1000",
        "x-ratelimitbysize-remaining-minute": str(1000 - cost),
    }


async def test_the_openai_set_tells_when_all_is_left_again(line):
    api = line(requests_per_minute=5, tokens_per_minute=1000, rate_headers="openai")
    await api.chat()
    api.clock.now_s += 20.25
    reply = await api.chat()
    told = {name: value for name, value in reply.headers.items() if "ratelimit" in name}
    assert told["x-ratelimit-limit-requests"] == "5"
    assert told["x-ratelimit-remaining-requests"] == "3"
    assert told["x-ratelimit-reset-requests"] == "1m0s"
    assert told["x-ratelimit-limit-tokens"] == "1000"
    assert set(told) == {
        f"x-ratelimit-{what}-{of}"
        for what in ("limit", "remaining", "reset")
        for of in ("requests", "tokens")
    }


async def test_without_a_header_set_nothing_is_told(line):
    api = line(requests_per_minute=1, tokens_per_minute=1000, rate_headers="none")
    for reply in (await api.chat(), await api.chat()):
        assert not [name for name in reply.headers if "ratelimit" in name]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.0116, "12ms"),
        (1.0, "1s"),
        (7.66, "7.66s"),
        (360.0, "6m0s"),
        (61.5, "1m1.5s"),
        (3601.0, "1h0m1s"),
    ],
)
def test_a_duration_is_spelled_as_openai_spells_it(seconds, text):
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("way", "name", "value"),
    [("seconds", "retry-after", "46"), ("milliseconds", "retry-after-ms", "45500")],
)
async def test_a_refusal_tells_when_the_limit_that_refused_would_admit(line, way, name, value):
    api = line(requests_per_minute=2, tokens_per_minute=1000, retry_after=way)
    served = await api.chat()
    api.clock.now_s += 14.5
    await api.chat()
    refused = await api.chat()
    assert refused.headers[name] == value
    assert name not in served.headers
    api.clock.now_s += 45.5
    assert await api.statuses(1) == [200]


async def test_a_wait_told_as_a_date_is_never_too_short(line):
    api = line(requests_per_minute=1, retry_after="date")
    before = datetime.now(UTC)
    await api.chat()
    refused = await api.chat()
    told = parsedate_to_datetime(refused.headers["retry-after"])
    assert timedelta(seconds=59.9) <= told - before <= timedelta(seconds=75)
