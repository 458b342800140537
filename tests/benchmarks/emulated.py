"""What the emulator can serve, so that nobody takes it for the client's limit."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import urllib.request
from base64 import b64encode
from statistics import median

from PIL import Image

from tests.benchmarks.quotas import emulator
from tests.benchmarks.report import section, table

REQUESTS, IN_FLIGHT = 3000, 64
SCHEMA = {"type": "object", "properties": {"what": {"type": "string"}}}
SIDES_PX = {"56 px": 56, "560 px of noise": 560}


def serving(rounds: int) -> str:
    """3,000 requests, 64 in flight, no latency: a process that only sends, the emulator in another.

    The synthetic engine answers by a schema; limits, headers and counts are on.
    """
    rows = []
    for name, side_px in SIDES_PX.items():
        body = _body(side_px)
        seconds = [_seconds(side_px) for _ in range(rounds)]
        rows.append((name, f"{len(body) / 1000:.0f}", f"{REQUESTS / median(seconds):.0f}"))
    head = ("image", "kB a body", "requests/s")
    return section("Emulator", rounds, serving.__doc__ or "", table(head, rows))


def _seconds(side_px: int) -> float:
    options = ("--requests-per-minute", "100000000", "--tokens-per-minute", "1000000000")
    with emulator(("--latency", "0", *options)) as base_url:
        command = [sys.executable, "-m", "tests.benchmarks.emulated", base_url, str(side_px)]
        subprocess.run(command, check=True)
        with urllib.request.urlopen(f"{base_url}/_emulator/stats") as response:
            stats = json.load(response)
    assert stats["served"] == REQUESTS, stats
    return stats["last_at_s"] - stats["first_at_s"]


def _body(side_px: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side_px, side_px), 40).save(file, "JPEG")
    url = f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"
    chunks = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": url}]
    return json.dumps(
        {
            "model": "m",
            "messages": [{"role": "user", "content": chunks}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": SCHEMA},
            },
        }
    ).encode()


async def _send(base_url: str, body: bytes) -> None:
    import aiohttp

    slots = asyncio.Semaphore(IN_FLIGHT)
    headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def one() -> None:
            url = f"{base_url}/v1/chat/completions"
            async with slots, session.post(url, data=body) as response:
                await response.read()

        await asyncio.gather(*(one() for _ in range(REQUESTS)))


if __name__ == "__main__":
    asyncio.run(_send(sys.argv[1], _body(int(sys.argv[2]))))
