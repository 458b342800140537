"""A started emulator, and the little that tests need to talk to it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx
import pytest
from PIL import Image

from vision_pipeline.core.models import Catalogue, ModelSpec
from vision_pipeline.emulator.app import create_app
from vision_pipeline.emulator.server import running
from vision_pipeline.emulator.settings import EmulatorSettings

CATALOGUE = Catalogue(
    [
        ModelSpec(id="mistral-small-2603", aliases=("mistral-small-latest",)),
        ModelSpec(id="mistral-large-2512"),
        ModelSpec(id="pixtral-12b-2409", retired_on=date(2025, 12, 31)),
        ModelSpec(id="leaving-soon", retired_on=date(2999, 1, 1)),
        ModelSpec(id="text-only", vision=False),
    ]
)


def draw(width_px: int, height_px: int, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width_px, height_px), "teal").save(file, kind, **options)
    return file.getvalue()


def as_data_url(source: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(source).decode()}"


@dataclass(frozen=True)
class Caller:
    """A client of one emulator."""

    base_url: str
    http: httpx.Client

    def chat(self, content: Any = "Say hello", **fields: Any) -> httpx.Response:
        body = {
            "model": "mistral-small-2603",
            "messages": [{"role": "user", "content": content}],
            **fields,
        }
        return self.http.post("/v1/chat/completions", json=body)

    def stats(self) -> dict[str, Any]:
        return self.http.get("/_emulator/stats").json()


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class Line:
    """Calls an application in this loop, by a clock that the test moves."""

    def __init__(self, clock=None, **settings: Any):
        self.clock = clock or Clock()
        self.app = create_app(EmulatorSettings(**settings), CATALOGUE, clock=self.clock)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://emulator",
            headers={"authorization": "Bearer x"},
        )

    async def chat(self, model="mistral-small-2603", content="hello"):
        body = {"model": model, "messages": [{"role": "user", "content": content}]}
        return await self.http.post("/v1/chat/completions", json=body)

    async def statuses(self, count):
        return [(await self.chat()).status_code for _ in range(count)]

    async def stats(self):
        return (await self.http.get("/_emulator/stats")).json()


@pytest.fixture
def new_clock() -> Callable[[], Clock]:
    return Clock


@pytest.fixture
def line() -> Callable[..., Line]:
    """Makes an emulator in this process with the given settings."""
    return Line


@pytest.fixture
def catalogue() -> Catalogue:
    return CATALOGUE


@pytest.fixture
def image() -> Callable[..., bytes]:
    return draw


@pytest.fixture
def data_url() -> Callable[..., str]:
    return as_data_url


@pytest.fixture
def picture() -> dict[str, Any]:
    """A chunk with the vendor's receipt: 700 x 979 px, 910 tokens."""
    return {"type": "image_url", "image_url": as_data_url(draw(700, 979))}


def _caller(stack: ExitStack, settings: EmulatorSettings, models: Catalogue) -> Caller:
    emulator = stack.enter_context(running(settings, models))
    headers = {"authorization": "Bearer test"}
    http = stack.enter_context(
        httpx.Client(base_url=emulator.base_url, headers=headers, timeout=30, trust_env=False)
    )
    return Caller(emulator.base_url, http)


@pytest.fixture
def start() -> Iterator[Callable[..., Caller]]:
    """Starts an emulator with the given settings."""
    with ExitStack() as stack:
        yield lambda models=CATALOGUE, **settings: _caller(
            stack, EmulatorSettings(**settings), models
        )


@pytest.fixture(scope="session")
def _shared() -> Iterator[Caller]:
    settings = EmulatorSettings(
        capture=True, url_images={"https://example.com/a.png": draw(455, 251)}
    )
    with ExitStack() as stack:
        yield _caller(stack, settings, CATALOGUE)


@pytest.fixture
def api(_shared: Caller) -> Caller:
    """An emulator without limits and faults, its counters at zero."""
    _shared.http.post("/_emulator/reset")
    return _shared
