"""What is measured, each in a process of its own: the bare loop, and the whole product."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.recipes import NO_QUOTA, recipe, run_command

IN_FLIGHT, MANY_IN_FLIGHT = 32, 256
BODY_BYTES = 250_000


async def bare(folder: Path, base_url: str, *, in_flight: int, count: int | None) -> None:
    """The floor: aiohttp and a semaphore; reads, encodes and sends, and keeps nothing."""
    import aiohttp

    slots = asyncio.Semaphore(in_flight)
    head = b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"What is '
    head += b'in this image?"},{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,'

    async def one(session: aiohttp.ClientSession, path: Path) -> None:
        async with slots:
            body = head + base64.b64encode(path.read_bytes()) + b'"}}]}]}'
            url = f"{base_url}/v1/chat/completions"
            async with session.post(url, data=BytesBody(body)) as response:
                json.loads(await response.read())

    class BytesBody(aiohttp.BytesPayload):
        def __init__(self, body: bytes) -> None:
            super().__init__(bytearray(body))

    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(one(session, path) for path in sorted(folder.iterdir())[:count]))


async def ready(base_url: str, *, body_bytes: int, in_flight: int, count: int) -> None:
    """aiohttp alone: bodies are made before, and answers thrown away."""
    import aiohttp

    slots = asyncio.Semaphore(in_flight)
    body = bytearray(body_bytes)
    url = f"{base_url}/v1/chat/completions"

    async def one(session: aiohttp.ClientSession) -> None:
        async with slots, session.post(url, data=aiohttp.BytesPayload(body)) as response:
            await response.read()

    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(one(session) for _ in range(count)))


async def product(
    source: dict[str, object], base_url: str, *, verify: str, in_flight: int = IN_FLIGHT
) -> float:
    """Everything: source, manifest, metadata cut, ledger, Parquet; into a new output folder.

    Returns:
        Peak memory of its workers, in MB.
    """
    from vision_pipeline.core.config import RunConfig
    from vision_pipeline.pipeline.run import carry_out
    from vision_pipeline.pipeline.shard import analyze_shard
    from vision_pipeline.wiring.services import open_services

    with tempfile.TemporaryDirectory() as scratch:
        document = recipe(
            Path(scratch),
            base_url,
            source=source,
            image={"verify": verify, "max_side_px": 1540},
            limits={"max_in_flight": in_flight} | NO_QUOTA,
        )
        config = RunConfig.model_validate(document)
        async with open_services(config) as services:
            summary = await carry_out(services, analyze_shard)
            # A list for each thread, of those that it started.
            lists = Path("/proc/self/task").glob("*/children")
            workers = [process for each in lists for process in each.read_text().split()]
            workers_mb = sum(peak_mb(process) for process in workers)
        assert summary.failed == 0, summary.errors
        return workers_mb


def command(manifest: Path, base_url: str) -> None:
    """The command `run` over a manifest, as a user types it, into a new output folder."""
    from vision_pipeline.cli.app import main as run

    with tempfile.TemporaryDirectory() as scratch:
        sys.argv = run_command(
            Path(scratch),
            base_url,
            source={"manifest": str(manifest)},
            image={"verify": "structure"},
            limits={"max_in_flight": IN_FLIGHT} | NO_QUOTA,
        )
        with contextlib.redirect_stdout(sys.stderr):
            try:
                run()
            except SystemExit as ended:
                if ended.code:
                    raise


def peak_mb(process: str = "self") -> float:
    """The most memory that a process had at once, in MB; `ru_maxrss` may tell its parent's."""
    status = Path(f"/proc/{process}/status").read_text()
    _, _, after = status.partition("VmHWM:")
    return int(after.split()[0]) / 1024


def main() -> None:
    """`clients.py NAME SOURCE BASE_URL [COUNT]`: run one, and print what it cost as JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    name, folder, base_url = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    count = int(sys.argv[4]) if sys.argv[4:] else None
    images: dict[str, object] = {"path": str(folder), "limit": count}
    started_s, workers_mb = cpu_s(), 0.0
    match name:
        case "bare":
            asyncio.run(bare(folder, base_url, in_flight=IN_FLIGHT, count=count))
        case "ready-256":
            sending = ready(
                base_url, body_bytes=BODY_BYTES, in_flight=MANY_IN_FLIGHT, count=count or 0
            )
            asyncio.run(sending)
        case "bare-256":
            asyncio.run(bare(folder, base_url, in_flight=MANY_IN_FLIGHT, count=count))
        case "structure-256":
            many = product(images, base_url, verify="structure", in_flight=MANY_IN_FLIGHT)
            workers_mb = asyncio.run(many)
        case "command":
            command(folder, base_url)
        case _:
            workers_mb = asyncio.run(product(images, base_url, verify=name))
    print(json.dumps({"cpu_s": cpu_s() - started_s, "peak_mb": peak_mb() + workers_mb}))


def cpu_s() -> float:
    """CPU time of this process and of its workers that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
