"""A quota that several processes share by leases, whole runs of minutes in virtual time."""

import asyncio
import random

import httpx
import pytest

from tests.adapters.providers import PROMPT_TOKENS, Provider, now, pause
from tests.virtual_time import run_virtually
from vision_pipeline.adapters.vision_api.client import VisionApi
from vision_pipeline.adapters.vision_api.leases import UNSHARED, open_leases
from vision_pipeline.core.activity import Activity, Stage
from vision_pipeline.core.config import LimitsConfig, RetryConfig
from vision_pipeline.core.errors import PipelineError, QuotaServerError
from vision_pipeline.core.limits import SHARED_FILL
from vision_pipeline.transport.clock import Clock
from vision_pipeline.transport.endpoint import Endpoint

PROCESSES, PER_S = 4, 20
REQUESTS = {"requests_per_minute": 60 * PER_S, "tokens_per_minute": 10**9}
SHARED = {"shared": {"name": "team", "share": 1 / PROCESSES}}


class FakeQuotaServer:
    """Grants each lease when all before it are used up at the rate of the quota.

    Attributes:
        is_down: Whether it refuses every call; None where it does not even answer.
        latency_s: Of a call.
    """

    def __init__(self, latency_s=0.02, **per_minute):
        self.is_down, self.latency_s = False, latency_s
        self.calls = 0
        self.given_back = {"requests": 0.0, "tokens": 0.0}
        self.is_closed = False
        self._per_s = {kind: SHARED_FILL * amount / 60 for kind, amount in per_minute.items()}
        self._free_s = dict.fromkeys(per_minute, 0.0)

    async def lease(self, kind, amount):
        await self._call()
        at_s = max(now(), self._free_s[kind])
        self._free_s[kind] = at_s + amount / self._per_s[kind]
        return at_s - now()

    async def give_back(self, kind, amount):
        await self._call()
        self.given_back[kind] += amount

    async def aclose(self):
        self.is_closed = True

    async def _call(self):
        self.calls += 1
        if self.is_down is None:
            await pause(3600)
        await pause(self.latency_s)
        if self.is_down:
            raise QuotaServerError("it is down")


class Process:
    """A client with items of its own.

    Attributes:
        sent_s: When its requests went.
    """

    def __init__(self, number, provider, server, limits):
        self.sent_s, self.errors = [], []
        self._provider = provider
        clock = asyncio.get_running_loop().time
        self.activity = Activity(now_s=clock)
        self.activity.begin()
        config = LimitsConfig(**limits)
        self.api = VisionApi(
            self._endpoint,
            limits=config,
            retry=RetryConfig(),
            clock=Clock(clock, asyncio.sleep, random.Random(number).random),
            activity=self.activity,
            leases=open_leases(config, server),
        )

    async def _endpoint(self):
        return Endpoint("http://provider/v1", None, transport=httpx.MockTransport(self._answer))

    async def _answer(self, request):
        self.sent_s.append(now())
        return await self._provider(request)

    async def work(self, items):
        slots = asyncio.Semaphore(80)

        async def one():
            async with slots:
                try:
                    await self.api.ask(b"{}", estimated_tokens=PROMPT_TOKENS)
                except PipelineError as error:
                    self.errors.append(error)

        await asyncio.gather(*(one() for _ in range(items)))
        self.activity.charge()
        await self.api.aclose()


class Fleet:
    """Several processes side by side."""

    def __init__(self, provider, server, items, limits, later=None):
        self.provider, self.server, self.items = provider, server, items
        self._limits, self._later = limits | SHARED, later
        run_virtually(self._go())

    async def _go(self):
        self.processes = [
            Process(number, self.provider, self.server, self._limits) for number in range(PROCESSES)
        ]
        changing = asyncio.ensure_future(self._later(self.server) if self._later else pause(0))
        await asyncio.gather(*(each.work(self.items // PROCESSES) for each in self.processes))
        changing.cancel()
        self.seconds = now()

    def sent(self, begin_s, end_s):
        """Requests of all processes between two moments."""
        times = [at_s for each in self.processes for at_s in each.sent_s]
        return sum(begin_s <= at_s < end_s for at_s in times)

    def assert_nothing_lost(self):
        assert [error for each in self.processes for error in each.errors] == []
        assert self.provider.served == self.items


PROVIDERS = {
    "bucket": lambda: Provider(bucket_per_s=PER_S, wait=1),
    "window": lambda: Provider(requests=60 * PER_S),
}


@pytest.mark.parametrize("kind", PROVIDERS)
@pytest.mark.parametrize("latency_s", [0.02, 0.5])
def test_processes_that_share_a_quota_use_it_to_the_full_and_are_not_refused(kind, latency_s):
    server = FakeQuotaServer(latency_s, requests=60 * PER_S, tokens=10**9)
    fleet = Fleet(PROVIDERS[kind](), server, 2400, REQUESTS)
    fleet.assert_nothing_lost()
    assert fleet.seconds <= 2400 / PER_S / 0.95
    assert fleet.provider.refused <= 0.02 * 2400
    # Nobody is served much later than the others.
    assert min(each.sent_s[-1] for each in fleet.processes) >= 0.9 * fleet.seconds
    # Four times a second for all of them together; hardly ever for tokens, which do not bind.
    assert server.calls <= 2400 / (PER_S / 4) + 8 * PROCESSES


def test_a_shared_quota_of_tokens_is_used_to_the_full():
    limits = {"requests_per_minute": 10**6, "tokens_per_minute": 400_000}
    server = FakeQuotaServer(requests=10**6, tokens=400_000)
    fleet = Fleet(Provider(requests=10**6, tokens=400_000), server, 640, limits)
    fleet.assert_nothing_lost()
    tokens = 640 * (PROMPT_TOKENS + 100)
    assert fleet.seconds <= tokens / (400_000 / 60) / 0.95
    assert fleet.provider.refused <= 0.02 * 640
    stages = fleet.processes[0].activity.seconds
    assert stages[Stage.TOKEN_LIMIT] > 0.8 * fleet.seconds


def test_a_quota_of_less_than_a_request_a_second_is_shared_too():
    limits = {"requests_per_minute": 30, "tokens_per_minute": 10**9}
    server = FakeQuotaServer(requests=30, tokens=10**9)
    fleet = Fleet(Provider(requests=30), server, 60, limits)
    fleet.assert_nothing_lost()
    # Whoever is done first has leased a request that nobody needs.
    assert fleet.seconds <= (60 + PROCESSES) / 0.5
    assert fleet.provider.refused <= 1


def away(is_down, begin_s, end_s):
    async def change(server):
        await pause(begin_s)
        server.is_down = is_down
        await pause(end_s - begin_s)
        server.is_down = False

    return change


@pytest.mark.parametrize("is_down", [True, None], ids=["refuses", "is silent"])
@pytest.mark.parametrize("kind", PROVIDERS)
def test_while_the_server_is_away_each_process_keeps_to_its_share(kind, is_down, caplog):
    server = FakeQuotaServer(requests=60 * PER_S, tokens=10**9)
    fleet = Fleet(PROVIDERS[kind](), server, 3000, REQUESTS, away(is_down, 30, 90))
    fleet.assert_nothing_lost()
    assert fleet.seconds <= 3000 / PER_S / 0.95 + 2
    assert fleet.provider.refused <= 0.02 * 3000
    for process in fleet.processes:
        sent = sum(35 <= at_s < 85 for at_s in process.sent_s)
        assert sent == pytest.approx(50 * PER_S / PROCESSES, rel=0.05)
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "25 % of the quota" in line]) == PROCESSES
    assert len([line for line in told if "is back" in line]) == PROCESSES
    assert len(told) == 2 * PROCESSES


def test_a_server_that_is_slow_now_and_then_holds_nothing_up_and_is_no_news(caplog):
    server = FakeQuotaServer(requests=60 * PER_S, tokens=10**9)

    async def stall(server):
        while True:
            await pause(10)
            server.latency_s = 4.0
            await pause(4)
            server.latency_s = 0.02

    fleet = Fleet(PROVIDERS["bucket"](), server, 2400, REQUESTS, stall)
    fleet.assert_nothing_lost()
    assert fleet.seconds <= 2400 / PER_S / 0.92
    assert fleet.provider.refused <= 0.02 * 2400
    assert caplog.records == []


@pytest.mark.parametrize("server", [None, "down"])
def test_without_a_server_a_process_never_takes_more_than_its_share(server):
    if server is not None:
        server = FakeQuotaServer(requests=60 * PER_S, tokens=10**9)
        server.is_down = True
    fleet = Fleet(PROVIDERS["bucket"](), server, 1200, REQUESTS)
    fleet.assert_nothing_lost()
    assert fleet.seconds >= 0.98 * 1200 / PER_S
    assert fleet.seconds <= 1200 / PER_S / 0.95 + 1
    assert fleet.provider.refused <= 0.02 * 1200


def test_one_process_alone_may_use_all_of_it():
    async def alone():
        process = Process(0, PROVIDERS["bucket"](), server, REQUESTS | SHARED)
        await process.work(1200)
        return now()

    server = FakeQuotaServer(requests=60 * PER_S, tokens=10**9)
    assert run_virtually(alone()) <= 1200 / PER_S / 0.95


def test_what_is_leased_and_not_used_is_given_back_at_the_end():
    server = FakeQuotaServer(requests=60 * PER_S, tokens=6_000_000)
    limits = REQUESTS | {"tokens_per_minute": 6_000_000}
    fleet = Fleet(PROVIDERS["bucket"](), server, 40, limits)
    fleet.assert_nothing_lost()
    assert 0 < server.given_back["requests"] <= 2 * PER_S / 4 * PROCESSES
    assert server.given_back["tokens"] > 0
    assert server.is_closed


def test_a_run_that_asks_nothing_leases_nothing():
    async def idle():
        await Process(0, PROVIDERS["bucket"](), server, REQUESTS | SHARED).api.aclose()

    server = FakeQuotaServer(requests=60 * PER_S, tokens=10**9)
    run_virtually(idle())
    assert server.calls == 0
    assert server.is_closed


def test_a_fault_of_the_program_ends_whoever_waits_for_a_lease():
    class Broken(FakeQuotaServer):
        async def lease(self, kind, amount):
            raise KeyError(kind)

    async def ask():
        process = Process(0, PROVIDERS["bucket"](), Broken(), REQUESTS | SHARED)
        try:
            await process.api.ask(b"{}", estimated_tokens=1)
        finally:
            await process.api.aclose()

    with pytest.raises(KeyError):
        run_virtually(ask())


def test_a_quota_that_is_not_shared_is_not_leased():
    assert open_leases(LimitsConfig(), FakeQuotaServer()) is UNSHARED


def test_requests_that_fail_cost_no_tokens_of_the_lease():
    class Failing(Provider):
        async def __call__(self, request):
            if len(process.sent_s) <= 5:
                return httpx.Response(500, content=b"oops")
            return await super().__call__(request)

    async def work():
        nonlocal process
        limits = {"requests_per_minute": 10**6, "tokens_per_minute": 60_000}
        process = Process(0, Failing(), server, limits | SHARED)
        await process.work(10)
        return now()

    process = None
    server = FakeQuotaServer(requests=10**6, tokens=60_000)
    # 1,000 tokens a second, 10 images of 1,600, and waits between attempts.
    assert run_virtually(work()) <= 10 * 1.6 + 10
