"""A started emulator, and the little that tests need to talk to it."""

from __future__ import annotations

import base64
import io
import json
import threading
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

    def __init__(self, clock=None, *, engine=None, **settings: Any):
        self.clock = clock or Clock()
        self.app = create_app(
            EmulatorSettings(**settings), CATALOGUE, engine=engine, clock=self.clock
        )
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


def batch_line(custom_id: str | None = "0", text: str = "hello", **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return {"custom_id": custom_id, "body": body}


def as_jsonl(*lines: Any) -> bytes:
    return b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )


class Desk(Line):
    """Uploads files and runs batch jobs, by a clock that the test moves."""

    def __init__(self, clock=None, *, engine=None, **settings: Any):
        plan = {"batch_queue_s": 10, "batch_run_s": 100, "batch_cancel_s": 10, "batch_hour_s": 1000}
        super().__init__(clock, engine=engine, **(plan | settings))

    async def upload(self, *lines: Any, purpose="batch", **fields: Any) -> httpx.Response:
        return await self.http.post(
            "/v1/files",
            data={"purpose": purpose, **fields},
            files={"file": ("in.jsonl", as_jsonl(*lines), "application/jsonl")},
        )

    async def order(self, **fields: Any) -> httpx.Response:
        order = {"endpoint": "/v1/chat/completions", "model": "mistral-small-2603", **fields}
        return await self.http.post("/v1/batch/jobs", json=order)

    async def submit(self, *lines: Any, **fields: Any) -> str:
        """A job over an uploaded file; gives its id."""
        file_id = (await self.upload(*lines)).json()["id"]
        return (await self.order(input_files=[file_id], **fields)).json()["id"]

    async def job(self, job_id: str, *, after_s: float = 0, **query: Any) -> dict[str, Any]:
        self.clock.now_s += after_s
        return (await self.http.get(f"/v1/batch/jobs/{job_id}", params=query)).json()

    async def cancel(self, job_id: str) -> dict[str, Any]:
        return (await self.http.post(f"/v1/batch/jobs/{job_id}/cancel")).json()

    async def rows(self, file_id: str | None) -> list[dict[str, Any]]:
        if file_id is None:
            return []
        content = (await self.http.get(f"/v1/files/{file_id}/content")).content
        return [json.loads(row) for row in content.splitlines()]

    async def counts(self) -> dict[str, Any]:
        return (await self.stats())["batch"]


@pytest.fixture
def desk() -> Callable[..., Desk]:
    """Makes an emulator in this process whose jobs wait 10 s, and run 100 s."""
    return Desk


class HeldEngine:
    """Answers nothing until it is told to."""

    name = "held"
    workers = 1

    def __init__(self):
        self.go = threading.Event()

    def answer(self, question):
        assert self.go.wait(60)
        return "done"


@pytest.fixture
def held_engine() -> Iterator[HeldEngine]:
    engine = HeldEngine()
    yield engine
    engine.go.set()


@pytest.fixture
def ask() -> Callable[..., dict[str, Any]]:
    """Makes a line of a batch."""
    return batch_line


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
