"""A server that reads a body, waits, and answers; it parses nothing, so it is no bottleneck."""

from __future__ import annotations

import asyncio
import os
import sys
from time import monotonic

from aiohttp import web

ANSWER = (
    b'{"id":"0","object":"chat.completion","model":"bench","choices":[{"index":0,'
    b'"finish_reason":"stop","message":{"role":"assistant","content":"an answer"}}],'
    b'"usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110}}'
)


class Bench:
    """Counts what came, and when."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.reset()

    def reset(self) -> None:
        self.count = self.wire_bytes = 0
        self.first_at_s = self.last_at_s = 0.0

    async def complete(self, request: web.Request) -> web.Response:
        self.first_at_s = self.first_at_s or monotonic()
        self.wire_bytes += len(await request.read())
        await asyncio.sleep(self.latency_s)
        self.count += 1
        self.last_at_s = monotonic()
        return web.Response(body=ANSWER, content_type="application/json")

    async def stats(self, _request: web.Request) -> web.Response:
        told = {
            "count": self.count,
            "wire_bytes": self.wire_bytes,
            "seconds": self.last_at_s - self.first_at_s,
        }
        self.reset()
        return web.json_response(told)


def main() -> None:
    """Serve on a free port of the loopback, on the last core, until stdin closes."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    bench = Bench(latency_s=float(sys.argv[1]))
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", bench.complete)
    app.router.add_get("/stats", bench.stats)
    asyncio.run(_serve(app))


async def _serve(app: web.Application) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    main()
