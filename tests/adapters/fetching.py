"""A web for tests of fetching: servers on this machine, names and addresses as they are told."""

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from vision_pipeline.adapters.fetch import FetchSettings, UrlFetcher
from vision_pipeline.adapters.fetch.settings import Clock
from vision_pipeline.core.errors import ItemError

BODY = b"\x89PNG\r\n\x1a\n" + b"x" * 5000
PUBLIC = "93.184.216.34"
DAWN = datetime(2026, 11, 1, 6, tzinfo=UTC)


class Naps:
    """Time that passes only in naps; remembers how long they were."""

    def __init__(self):
        self.taken = []
        self.clock = Clock(now=self.now, sleep=self.sleep, utc_now=self.utc_now)

    def now(self):
        return sum(self.taken)

    def utc_now(self):
        return DAWN + timedelta(seconds=self.now())

    async def sleep(self, seconds):
        self.taken.append(seconds)
        await asyncio.sleep(0)


class Site:
    """A server that answers each path by a script, the last answer over and over."""

    def __init__(self, script):
        self.script = {path: list(answers) for path, answers in script.items()}
        self.asked = []

    async def answer(self, request):
        self.asked.append(request)
        answers = self.script[request.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return await answer(request)

    @property
    def methods(self):
        return [request.method for request in self.asked]


def ok(body=BODY, **headers):
    return status(200, body, **headers)


def status(number, body=None, **headers):
    sent = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(request):
        return web.Response(status=number, body=body, headers=sent)

    return answer


def by_method(**answers):
    """An answer for each method."""

    async def answer(request):
        return await answers[request.method](request)

    return answer


def endless(start, chunk, **headers):
    """A body that only a client can end."""

    async def answer(request):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        response = web.StreamResponse(headers=sent)
        await response.prepare(request)
        await response.write(start)
        while True:
            await response.write(chunk)

    return answer


async def hang(request):
    await asyncio.Event().wait()


async def drop(request):
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def serving(script):
    """A site and its base URL."""
    site = Site(script)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    server = TestServer(app)
    await server.start_server()
    try:
        yield site, str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


def answering(*answers):
    """A resolver that gives one list of addresses after the other, the last over and over."""
    left = list(answers)

    async def resolve(host, port, family):
        resolve.asked.append(host)
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in (left.pop(0) if len(left) > 1 else left[0])
        ]

    resolve.asked = []
    return resolve


def fetcher(naps=None, resolve=None, **settings):
    """A fetcher that may reach this machine, unless told otherwise."""
    options = {} if resolve is None else {"resolve": resolve}
    allowed = FetchSettings(**({"allow_private": True} | settings))
    return UrlFetcher(allowed, clock=(naps or Naps()).clock, **options)


def closed_fetcher(resolve=None, naps=None, **settings):
    """A fetcher as it is by default: public addresses only."""
    asked = resolve or answering([PUBLIC])
    return fetcher(naps, asked, allow_private=False, **settings)


async def error_of(fetching, url):
    with pytest.raises(ItemError) as caught:
        await fetching.fetch(url)
    return caught.value


class Wire:
    """The border to the operating system: every address that anybody connects to passes here.

    An address with a route leads to a server on this machine; any other is not there.
    """

    def __init__(self, connect):
        self._connect = connect
        self.routes = {}
        self.reached = []

    async def connect(self, sock, address):
        self.reached.append(address[0])
        if address[0] not in self.routes:
            raise ConnectionRefusedError("nobody is there")
        await self._connect(sock, self.routes[address[0]])

    def lead(self, address, base):
        """Let connections to an address, whatever the port, reach the site at `base`."""
        host, port = base.removeprefix("http://").split(":")
        self.routes[address] = (host, int(port))


@asynccontextmanager
async def wired(monkeypatch):
    """The wire of the running loop."""
    loop = asyncio.get_running_loop()
    wire = Wire(loop.sock_connect)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "sock_connect", wire.connect)
        yield wire
