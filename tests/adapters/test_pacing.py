"""The client's pace against providers with limits, whole runs of minutes in virtual time."""

import asyncio
import math
import random

import httpx
import pytest

from tests.adapters.providers import LATENCY_S, PROMPT_TOKENS, Provider, now, pause
from tests.virtual_time import run_virtually
from vision_pipeline.adapters.vision_api.client import VisionApi
from vision_pipeline.core.activity import Activity, Stage
from vision_pipeline.core.config import LimitsConfig, RetryConfig
from vision_pipeline.core.errors import EndpointError, ItemError, PipelineError
from vision_pipeline.transport.clock import Clock
from vision_pipeline.transport.endpoint import Endpoint

IN_FLIGHT = 64
AUTO = {}


class Run:
    """Items asked side by side, as a pipeline asks them."""

    def __init__(self, provider, items, limits, later=None, bodies=None, **retry):
        self.provider, self.items, self._bodies = provider, items, bodies or {}
        self._limits, self._retry, self._later = limits, retry, later
        self.errors = []
        run_virtually(self._go())

    async def _go(self):
        loop = asyncio.get_running_loop()
        self.activity = Activity(now_s=loop.time)
        self.activity.begin()

        async def endpoint():
            transport = httpx.MockTransport(self.provider)
            return Endpoint("http://provider/v1", None, transport=transport)

        api = VisionApi(
            endpoint,
            limits=LimitsConfig(**self._limits),
            retry=RetryConfig(**self._retry),
            clock=Clock(loop.time, asyncio.sleep, random.Random(2).random),
            activity=self.activity,
        )
        slots = asyncio.Semaphore(IN_FLIGHT + 16)

        async def one(number):
            async with slots:
                try:
                    body = self._bodies.get(number, b"{}")
                    await api.ask(body, estimated_tokens=PROMPT_TOKENS)
                except PipelineError as error:
                    self.errors.append(error)

        changing = asyncio.ensure_future(self._later(self.provider) if self._later else pause(0))
        await asyncio.gather(*map(one, range(self.items)))
        changing.cancel()
        self.activity.charge()
        self.seconds = loop.time()

    @property
    def refused_share(self):
        return self.provider.refused / self.items


def best_s(items, *, window=None):
    """Seconds of the best schedule for a window of so many items, all answers equally quick."""
    busy_s = [0.0] * IN_FLIGHT
    sent = []
    for number in range(items):
        slot = busy_s.index(min(busy_s))
        at_s = busy_s[slot]
        if window is not None and number >= window:
            at_s = max(at_s, sent[number - window] + 60)
        sent.append(at_s)
        # The mean of what the provider takes, the way there among it.
        busy_s[slot] = at_s + 0.025 + LATENCY_S * math.exp(0.3**2 / 2)
    return max(busy_s)


def assert_nothing_lost(run):
    assert run.errors == []
    assert run.provider.served == run.items


@pytest.mark.parametrize(
    ("limits", "slower", "refused"),
    [
        ({"requests_per_minute": 1200, "tokens_per_minute": 10**9}, 1.03, 0.01),
        (AUTO, 1.03, 0.01),
    ],
    ids=["given", "auto"],
)
def test_a_window_of_requests_is_used_to_the_full_and_refuses_nothing(limits, slower, refused):
    run = Run(Provider(requests=1200), 3000, limits)
    assert_nothing_lost(run)
    assert run.seconds <= slower * best_s(3000, window=1200)
    assert run.refused_share < refused


@pytest.mark.parametrize(
    "limits",
    [{"requests_per_minute": 10**6, "tokens_per_minute": 50_000}, AUTO],
    ids=["given", "auto"],
)
def test_a_window_of_tokens_is_used_to_the_full_and_refuses_nothing(limits):
    """50,000 tokens a minute are 31.25 images of 1,600, and the provider admits the 32nd."""
    run = Run(Provider(requests=10**6, tokens=50_000), 160, limits)
    assert_nothing_lost(run)
    assert run.seconds <= 1.03 * best_s(160, window=32)
    assert run.refused_share < 0.01


@pytest.mark.parametrize("wait", [1, None], ids=["retry-after", "no wait named"])
@pytest.mark.parametrize(
    ("limits", "slower", "refused"),
    [
        ({"requests_per_minute": 1200, "tokens_per_minute": 10**9}, 1.03, 0.01),
        (AUTO, 1.10, 0.03),
    ],
    ids=["given", "auto"],
)
def test_a_bucket_that_nobody_names_is_found_and_kept(limits, slower, refused, wait):
    run = Run(Provider(bucket_per_s=20, wait=wait), 1200, limits)
    assert_nothing_lost(run)
    assert run.seconds <= slower * (1200 - 20) / 20
    assert run.refused_share < refused


def test_a_quota_that_is_halved_in_mid_run_is_kept_without_a_loss():
    async def halve(provider):
        await pause(30)
        provider.requests = 600

    run = Run(Provider(requests=1200), 2400, AUTO, halve)
    assert_nothing_lost(run)
    # 1,200 at once; 600 a minute later; 600 another minute later.
    assert run.seconds <= 1.05 * (best_s(1800, window=600) + 10)
    assert run.refused_share < 0.01


def test_a_bucket_that_is_halved_in_mid_run_is_found_anew():
    async def halve(provider):
        await pause(30)
        provider.bucket_per_s = 10

    given = {"requests_per_minute": 1200, "tokens_per_minute": 10**9}
    run = Run(Provider(bucket_per_s=20, wait=1), 2400, given, halve)
    assert_nothing_lost(run)
    assert run.seconds <= (30 + 1800 / 10) / 0.95
    assert run.refused_share < 0.01


OPEN = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9}


def outage(begin_s, end_s):
    async def change(provider):
        await pause(begin_s)
        provider.is_down = True
        await pause(end_s - begin_s)
        provider.is_down = False

    return change


def test_an_outage_is_waited_out_and_costs_nobody_an_attempt_too_many():
    run = Run(Provider(), 2000, OPEN, outage(5, 95))
    assert_nothing_lost(run)
    assert run.seconds <= (best_s(2000) + 90) / 0.95
    # Those sent while earlier ones were still answered, and a try now and then.
    assert run.provider.failed <= 4 * IN_FLIGHT
    assert run.activity.seconds[Stage.OUTAGE] == pytest.approx(90, abs=5)


@pytest.mark.parametrize("seconds", [20, 90])
@pytest.mark.parametrize("in_flight", [1, 2, 64])
@pytest.mark.parametrize("attempts", [1, 6])
def test_an_outage_loses_no_row_however_few_requests_see_it(seconds, in_flight, attempts):
    limits = OPEN | {"max_in_flight": in_flight}
    items = 40 * in_flight
    run = Run(Provider(), items, limits, outage(5, 5 + seconds), max_attempts=attempts)
    assert_nothing_lost(run)


def test_an_outage_at_the_very_end_is_waited_out_by_the_last_request():
    run = Run(Provider(), 2, OPEN | {"max_in_flight": 1}, outage(0.9, 60))
    assert_nothing_lost(run)
    assert run.seconds <= 120


def test_a_server_that_comes_and_goes_loses_no_row():
    async def flap(provider):
        while True:
            await pause(5)
            provider.is_down = not provider.is_down

    run = Run(Provider(), 3000, OPEN, flap)
    assert_nothing_lost(run)


class Fragile(Provider):
    """Fails on some requests, whatever else it serves."""

    async def __call__(self, request):
        if b"poison" not in await request.aread():
            return await super().__call__(request)
        await asyncio.sleep(0.02)
        self.failed += 1
        return httpx.Response(500, content=b"oops")


@pytest.mark.parametrize(("poisoned", "items"), [(range(5), 60), (range(55, 60), 60)])
@pytest.mark.parametrize("in_flight", [1, 6, 64])
def test_some_requests_that_the_server_fails_on_are_given_up_and_no_others(
    poisoned, items, in_flight
):
    bodies = dict.fromkeys(poisoned, b'{"user": "poison"}')
    run = Run(Fragile(), items, OPEN | {"max_in_flight": in_flight}, bodies=bodies)
    assert [type(error) for error in run.errors] == [ItemError] * len(poisoned)
    assert run.provider.served == items - len(poisoned)


@pytest.mark.parametrize(("items", "seconds"), [(5, 60), (9, 800)])
def test_requests_that_the_server_fails_on_become_rows_also_where_there_are_no_others(
    items, seconds
):
    run = Run(Fragile(), items, OPEN, bodies=dict.fromkeys(range(items), b'{"user": "poison"}'))
    assert {type(error) for error in run.errors} == {ItemError}
    assert run.seconds <= seconds


def test_an_outage_ends_with_any_answer():
    class Picky(Provider):
        async def __call__(self, request):
            if not self.is_down and now() < 40:
                await asyncio.sleep(0.02)
                return httpx.Response(400, content=b'{"message": "no"}')
            return await super().__call__(request)

    async def change(provider):
        provider.is_down = True
        await pause(20)
        provider.is_down = False

    run = Run(Picky(), 300, OPEN, change)
    assert run.activity.outage is None
    assert {error.code for error in run.errors} == {"refused_request"}
    assert run.seconds < 30


@pytest.mark.parametrize("attempts", [1, 6])
def test_one_request_that_the_server_fails_on_is_given_up_soon(attempts):
    run = Run(Fragile(), 500, OPEN, bodies={30: b'{"user": "poison"}'}, max_attempts=attempts)
    [error] = run.errors
    assert (type(error), error.code) == (ItemError, "model_unavailable")
    assert run.provider.served == 499
    assert run.provider.failed <= attempts + 3


def test_an_outage_longer_than_patience_stops_the_run():
    run = Run(Provider(), 500, OPEN, outage(1, 10_000), max_elapsed_s=120)
    # A pipeline stops at the first one.
    assert type(run.errors[0]) is EndpointError
    assert "nothing was answered for" in str(run.errors[0])
    assert 100 <= run.seconds <= 140


def test_others_who_use_the_same_quota_are_made_room_for():
    provider = Provider(requests=600)

    async def others(_):
        while True:
            await pause(0.2)
            provider._arrived.append((now(), 1))

    run = Run(provider, 900, AUTO, others)
    assert_nothing_lost(run)
    # Half of the quota is theirs, and nobody says when they take it.
    assert run.refused_share < 0.1


def test_a_share_of_a_larger_quota_is_kept():
    given = {"requests_per_minute": 300, "tokens_per_minute": 10**9}
    run = Run(Provider(requests=1200), 750, given)
    assert_nothing_lost(run)
    assert run.provider.refused == 0
    assert best_s(750, window=300) <= run.seconds <= 1.03 * best_s(750, window=300)


@pytest.mark.parametrize("by_chance", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("wait", [1, None], ids=["retry-after", "no wait named"])
@pytest.mark.parametrize("limits", [OPEN, AUTO], ids=["given", "auto"])
def test_refusals_by_chance_do_not_bring_a_run_to_a_halt(limits, wait, by_chance):
    provider = Provider(wait=wait)
    provider.by_chance = by_chance
    run = Run(provider, 3000, limits)
    assert_nothing_lost(run)
    pauses_s = run.provider.refused * (wait or 0)
    assert run.seconds <= 4 * best_s(3000) + pauses_s


@pytest.mark.parametrize("by_chance", [0.15, 0.3])
@pytest.mark.parametrize("limits", [OPEN, AUTO], ids=["given", "auto"])
def test_many_refusals_by_chance_slow_a_run_down_for_minutes_and_not_for_good(limits, by_chance):
    provider = Provider()
    provider.by_chance = by_chance
    run = Run(provider, 4000, limits)
    assert_nothing_lost(run)
    assert run.seconds <= 4 * best_s(4000) + 400


def full(by_chance):
    provider = Provider()
    provider.by_chance = by_chance
    provider.body = b'{"code":"3505","type":"service_tier_capacity_exceeded"}'
    return provider


def test_a_server_that_is_full_now_and_then_holds_up_those_alone_that_it_refused():
    run = Run(full(0.01), 2000, OPEN)
    assert_nothing_lost(run)
    assert run.seconds <= 2 * best_s(2000) + 10


def test_a_server_that_is_full_for_all_gets_a_pause():
    async def fill(provider):
        await pause(5)
        provider.by_chance = 1.0
        await pause(25)
        provider.by_chance = 0.0

    run = Run(full(0.0), 2000, OPEN, fill)
    assert_nothing_lost(run)
    assert run.provider.refused <= 3 * IN_FLIGHT
    assert run.seconds <= best_s(2000) + 25 + 20


def test_a_long_wait_that_one_refusal_asks_for_holds_up_nobody_else():
    class Odd(Provider):
        async def __call__(self, request):
            if b"odd" in await request.aread() and now() < 5:
                return httpx.Response(429, headers={"retry-after": "3600"}, content=self.body)
            return await super().__call__(request)

    run = Run(Odd(), 300, OPEN, bodies={150: b'{"user": "odd"}'})
    assert_nothing_lost(run)


class Strict(Provider):
    """Refuses one kind of request by rate limit, whatever else it serves."""

    async def __call__(self, request):
        if b"too much" not in await request.aread():
            return await super().__call__(request)
        await asyncio.sleep(0.02)
        return httpx.Response(429, content=self.body)


def test_one_request_that_is_refused_for_ever_at_the_end_is_given_up_after_all_patience():
    run = Run(Strict(), 20, OPEN, bodies={19: b'{"user": "too much"}'})
    [error] = run.errors
    assert (type(error), error.code) == (ItemError, "rate_limited")
    assert run.provider.served == 19


def test_one_request_that_is_refused_for_ever_is_given_up_while_others_are_served():
    run = Run(Strict(), 60, OPEN, bodies={3: b'{"user": "too much"}'})
    [error] = run.errors
    assert (type(error), error.code) == (ItemError, "rate_limited")
    assert "while others were served" in str(error)
    assert run.provider.served == 59
