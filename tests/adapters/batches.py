"""An emulator with files and batch jobs, and a client of it, by one clock that nobody waits for."""

from __future__ import annotations

import json
from typing import Any

import httpx

from vision_pipeline.adapters.batch_api.client import BatchApi
from vision_pipeline.core.batch import BatchForm
from vision_pipeline.core.batch_forms import MISTRAL
from vision_pipeline.core.config import RetryConfig
from vision_pipeline.emulator.app import create_app
from vision_pipeline.emulator.settings import EmulatorSettings
from vision_pipeline.transport.clock import Clock
from vision_pipeline.transport.endpoint import Endpoint
from vision_pipeline.wiring.library import load_catalogue

KEY = "sk-very-secret-of-24-chars"
MODEL = "mistral-small-2603"


class Time:
    """Passes by waiting, which takes none."""

    def __init__(self):
        self.now_s = 1000.0
        self.naps: list[float] = []

    def now(self):
        return self.now_s

    async def sleep(self, seconds):
        self.naps.append(seconds)
        self.now_s += seconds

    @property
    def clock(self):
        return Clock(now=self.now, sleep=self.sleep, jitter=lambda: 0.0)


def client(
    transport: httpx.AsyncBaseTransport | None,
    time: Time,
    *,
    base_url: str = "http://emulator/v1",
    form: BatchForm = MISTRAL,
    model: str = MODEL,
    **retry: Any,
) -> BatchApi:
    async def endpoint() -> Endpoint:
        return Endpoint(base_url, KEY, use_proxy=False, transport=transport)

    return BatchApi(endpoint, form=form, model=model, retry=RetryConfig(**retry), clock=time.clock)


class Desk:
    """The client, the emulator behind it, and what it counts."""

    def __init__(self, **settings: Any):
        plan = {"batch_queue_s": 0, "batch_run_s": 0, "batch_cancel_s": 10}
        self.time = Time()
        self.app = create_app(
            EmulatorSettings(**(plan | settings)), load_catalogue(), clock=self.time.now
        )
        self.transport = httpx.ASGITransport(self.app)
        self.http = httpx.AsyncClient(
            transport=self.transport, base_url="http://emulator", headers={"authorization": "B x"}
        )
        self.api = client(self.transport, self.time)

    async def faults(self, **rates: float) -> None:
        await self.http.post("/_emulator/settings", json={"faults": rates})

    async def counts(self) -> dict[str, Any]:
        return (await self.http.get("/_emulator/stats")).json()["batch"]


def body(text: str = "hello", **fields: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}], **fields}).encode()
