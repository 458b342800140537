"""How many requests go to one host at once, and how a host is left alone."""

import asyncio
from datetime import timedelta
from email.utils import format_datetime

import pytest

from tests.adapters.fetching import (
    BODY,
    DAWN,
    Naps,
    error_of,
    fetcher,
    hang,
    ok,
    serving,
    status,
)
from vision_pipeline.adapters.fetch import FetchSettings, UrlFetcher
from vision_pipeline.adapters.fetch.hosts import HostGate
from vision_pipeline.core.errors import ErrorCode, ItemError


class Counter:
    """An answer that is held back until it is released; counts who waits for it."""

    def __init__(self):
        self.inside = self.peak = 0
        self.entered = asyncio.Condition()
        self.released = asyncio.Event()

    async def __call__(self, request):
        async with self.entered:
            self.inside += 1
            self.peak = max(self.peak, self.inside)
            self.entered.notify_all()
        await self.released.wait()
        self.inside -= 1
        return await ok()(request)

    async def has(self, number):
        async with self.entered:
            await self.entered.wait_for(lambda: self.inside >= number)


async def test_a_host_gets_no_more_requests_at_once_than_allowed():
    counter = Counter()
    async with (
        serving({"/a": [counter]}) as (_, base),
        serving({"/a": [ok()]}) as (_, elsewhere),
        fetcher(max_per_host=3) as fetching,
    ):
        waiting = [asyncio.create_task(fetching.fetch(f"{base}/a")) for _ in range(20)]
        await counter.has(3)
        assert (await fetching.fetch(f"{elsewhere}/a")).data == BODY
        counter.released.set()
        assert [image.data for image in await asyncio.gather(*waiting)] == [BODY] * 20
    assert counter.peak == 3


async def test_a_redirect_takes_a_slot_of_the_host_that_it_leads_to():
    counter = Counter()
    async with serving({"/a": [counter], "/b": [ok()]}) as (_, target):
        script = {"/a": [status(302, Location=f"{target}/a")], "/b": [ok()]}
        async with serving(script) as (site, base), fetcher(max_per_host=2) as fetching:
            waiting = [asyncio.create_task(fetching.fetch(f"{base}/a")) for _ in range(6)]
            await counter.has(2)
            # The first host is done with those who wait at the second, so it has slots.
            assert (await fetching.fetch(f"{base}/b")).data == BODY
            counter.released.set()
            await asyncio.gather(*waiting)
    assert counter.peak == 2
    assert len(site.asked) == 7


@pytest.mark.parametrize("limit", ["max_per_host", "max_connections"])
async def test_waiting_for_a_turn_is_no_time_out(limit):
    """Three requests use up their time one after the other; the last has all of its own."""
    limits = {limit: 1, "timeout_s": 0.1, "backoffs_s": ()}
    async with (
        serving({"/a": [hang], "/b": [ok()]}) as (_, base),
        fetcher(**limits) as fetching,
    ):
        paths = ["/a", "/a", "/a", "/b"]
        asked = [fetching.fetch(base + path) for path in paths]
        *silent, last = await asyncio.gather(*asked, return_exceptions=True)
    assert [error.code for error in silent] == [ErrorCode.TIMEOUT] * 3
    assert last.data == BODY


async def test_all_connections_together_are_limited():
    counter = Counter()
    async with (
        serving({"/a": [counter]}) as (_, one),
        serving({"/a": [counter]}) as (_, two),
        fetcher(max_connections=2) as fetching,
    ):
        waiting = [asyncio.create_task(fetching.fetch(f"{base}/a")) for base in (one, two) * 4]
        await counter.has(2)
        counter.released.set()
        await asyncio.gather(*waiting)
    assert counter.peak == 2


in_30_s = format_datetime(DAWN + timedelta(seconds=30), usegmt=True)


@pytest.mark.parametrize("number", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [("7", 7.0), (in_30_s, 30.0), ("3600", 60.0), ("0", None), ("soon", None), ("-5", None)],
)
async def test_a_host_is_left_alone_for_as_long_as_it_asks(number, retry_after, wait_s):
    naps = Naps()
    script = {"/a": [status(number, Retry_After=retry_after)], "/b": [ok()]}
    async with (
        serving(script) as (_, base),
        serving({"/a": [ok()]}) as (_, elsewhere),
        fetcher(naps, backoffs_s=()) as fetching,
    ):
        await error_of(fetching, f"{base}/a")
        await fetching.fetch(f"{elsewhere}/a")
        assert naps.taken == []
        await fetching.fetch(f"{base}/b")
        await fetching.fetch(f"{base}/b")
    assert naps.taken == ([] if wait_s is None else [wait_s])


async def test_a_date_that_has_passed_is_no_wait():
    passed = format_datetime(DAWN.replace(year=2020), usegmt=True)
    script = {"/a": [status(429, Retry_After=passed), ok()]}
    patient = FetchSettings(allow_private=True, backoffs_s=())
    async with serving(script) as (_, base), UrlFetcher(patient) as fetching:
        await error_of(fetching, f"{base}/a")
        assert (await fetching.fetch(f"{base}/a")).data == BODY


async def test_a_retry_waits_as_long_as_its_host_asks():
    naps = Naps()
    script = {"/a": [status(429, Retry_After="10"), ok()]}
    async with serving(script) as (_, base), fetcher(naps) as fetching:
        assert (await fetching.fetch(f"{base}/a")).data == BODY
    assert naps.taken == [0.5, 9.5]


async def test_a_host_that_answers_is_not_left_alone_whatever_it_says():
    naps = Naps()
    script = {"/a": [ok(Retry_After="10"), status(404, Retry_After="10"), ok()]}
    async with serving(script) as (_, base), fetcher(naps) as fetching:
        await fetching.fetch(f"{base}/a")
        await error_of(fetching, f"{base}/a")
        await fetching.fetch(f"{base}/a")
    assert naps.taken == []


# --- the table of hosts


async def test_a_host_that_nobody_asks_is_forgotten():
    gate = HostGate(FetchSettings(), clock=Naps().clock)
    for number in range(100):
        async with gate.turn(f"http://{number}.example"):
            assert len(gate) == 1
    assert len(gate) == 0


async def test_a_host_is_forgotten_when_its_pause_is_over():
    naps = Naps()
    gate = HostGate(FetchSettings(), clock=naps.clock)
    for number in range(100):
        async with gate.turn(f"http://{number}.example"):
            gate.pause(f"http://{number}.example", 10.0)
        await naps.sleep(1.0)
    assert 10 <= len(gate) <= 11


async def test_a_shorter_wait_does_not_end_a_longer_one():
    naps = Naps()
    gate = HostGate(FetchSettings(), clock=naps.clock)
    async with gate.turn("http://a.example"):
        gate.pause("http://a.example", 30.0)
        gate.pause("http://a.example", 5.0)
    async with gate.turn("http://a.example"):
        assert naps.now() == 30.0


async def test_who_gives_up_waiting_takes_no_slot():
    gate = HostGate(FetchSettings(max_per_host=1), clock=Naps().clock)

    async def wait():
        async with gate.turn("http://a.example"):
            raise ItemError(ErrorCode.TIMEOUT, "done")

    async with gate.turn("http://a.example"):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    with pytest.raises(ItemError, match="done"):
        await wait()
    assert len(gate) == 0
