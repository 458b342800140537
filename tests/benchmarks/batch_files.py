"""How fast files go up to a Batch API and results come down, and in how much memory."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic

from aiohttp import web

from tests.benchmarks.report import section, table

UPLOAD_MB, LINE_KB = 200, 400
RESULTS = 100_000
CLIENTS = {"vendor": "the vendor's client", "ours": "the product"}
WORK = {
    "idle": "nothing",
    "upload": f"upload of {UPLOAD_MB} MB",
    "download": f"{RESULTS:,} results",
}
MB = 1e6


def batch_files(rounds: int) -> str:
    """A file of 200 MB in lines of 400 kB goes up; 100,000 results of 1.1 kB come down.

    Client and server on a core each; the server parses nothing. Peak memory is the client's whole
    process; with nothing to do it is that of what is imported.
    """
    rows = []
    with tempfile.TemporaryDirectory() as scratch, _serving(Path(scratch)) as base_url:
        for work, what in WORK.items():
            for name, called in CLIENTS.items():
                runs = [_client(name, work, base_url, scratch) for _ in range(rounds)]
                seconds = median(run["seconds"] for run in runs)
                shown = {
                    "idle": "",
                    "upload": f"{UPLOAD_MB / seconds:.0f} MB/s",
                    "download": f"{RESULTS / seconds:,.0f} lines/s",
                }[work]
                peak = f"{median(run['peak_mb'] for run in runs):.0f}"
                rows.append((what, called, shown, peak))
    head = ("", "client", "speed", "peak MB")
    return section("Batch files", rounds, batch_files.__doc__ or "", table(head, rows))


def _client(name: str, work: str, base_url: str, scratch: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.batch_files", name, work, base_url, scratch]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    line = b'{"custom_id":"0","body":"' + b"A" * (LINE_KB * 1000) + b'"}\n'
    with (folder / "in.jsonl").open("wb") as file:
        for _ in range(UPLOAD_MB * 1_000_000 // len(line)):
            file.write(line)
    with (folder / "out.jsonl").open("w", encoding="utf-8") as file:
        for number in range(RESULTS):
            message = {"role": "assistant", "content": json.dumps({"answer": "w" * 800})}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            body = {"id": "x", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 9}}
            row = {"custom_id": f"{number}", "response": {"status_code": 200, "body": body}}
            file.write(json.dumps(row) + "\n")
    command = [sys.executable, "-m", "tests.benchmarks.batch_files", "serve", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.stdin.close()


async def serve(folder: Path) -> None:
    async def upload(request: web.Request) -> web.Response:
        async for _ in request.content.iter_chunked(1 << 20):
            pass
        return web.json_response(CARD)

    async def card(request: web.Request) -> web.Response:
        return web.json_response(CARD | {"bytes": (folder / "out.jsonl").stat().st_size})

    async def content(request: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / "out.jsonl")

    app = web.Application(client_max_size=1 << 40)
    app.router.add_post("/v1/files", upload)
    app.router.add_get("/v1/files/f", card)
    app.router.add_get("/v1/files/f/content", content)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


CARD = {
    "id": "f",
    "object": "file",
    "bytes": 1,
    "created_at": 1,
    "filename": "in.jsonl",
    "purpose": "batch",
    "sample_type": "batch_request",
    "source": "upload",
    "num_lines": 1,
}


async def ours(work: str, base_url: str, folder: Path) -> AsyncIterator[None]:
    from vision_pipeline.adapters.batch_api.client import BatchApi
    from vision_pipeline.core.batch import Job, JobState
    from vision_pipeline.core.batch_forms import MISTRAL
    from vision_pipeline.core.config import RetryConfig
    from vision_pipeline.transport.endpoint import Endpoint

    async def endpoint() -> Endpoint:
        return Endpoint(f"{base_url}/v1", "sk-of-sixteen-chars", use_proxy=False)

    api = BatchApi(endpoint, form=MISTRAL, model="m", retry=RetryConfig(), scratch=folder)
    yield
    if work == "upload":
        await api.upload(folder / "in.jsonl", "in.jsonl")
    if work == "download":
        job = Job(id="j", state=JobState.SUCCESS, result_files=("f",))
        count = 0
        async for _ in api.results(job):
            count += 1
        assert count == RESULTS
    await api.aclose()


async def vendor(work: str, base_url: str, folder: Path) -> AsyncIterator[None]:
    from mistralai.client import Mistral

    client = Mistral(api_key="sk-of-sixteen-chars", server_url=base_url)
    yield
    if work == "upload":
        with (folder / "in.jsonl").open("rb") as file:
            told = {"file_name": "in.jsonl", "content": file}
            client.files.upload(file=told, purpose="batch")
    if work == "download":
        lines = client.files.download(file_id="f").read().splitlines()
        assert len([json.loads(line) for line in lines]) == RESULTS


async def measure(name: str, work: str, base_url: str, folder: Path) -> None:
    steps = {"ours": ours, "vendor": vendor}[name](work, base_url, folder)
    await anext(steps)
    began_s = monotonic()
    await anext(steps, None)
    seconds = monotonic() - began_s
    status = Path("/proc/self/status").read_text("ascii")  # not getrusage: it tells of the parent
    peak_mb = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / MB
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}))


def main() -> None:
    cores = os.sched_getaffinity(0)
    is_server = sys.argv[1] == "serve"
    os.sched_setaffinity(0, {max(cores) if is_server else min(cores)})
    asyncio.run(
        serve(Path(sys.argv[2]))
        if is_server
        else measure(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    )


if __name__ == "__main__":
    main()
