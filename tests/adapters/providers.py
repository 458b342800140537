"""A provider with limits, for whole runs in virtual time."""

import asyncio
import math
import random
from collections import deque

import httpx
import orjson

PROMPT_TOKENS, LATENCY_S = 1500, 0.5


class Provider:
    """Counts as a provider does; answers after about half a second.

    Attributes:
        requests: Requests that may come within any 60 s, or None.
        tokens: Tokens likewise, debited when an answer is complete.
        bucket_per_s: Instead: a bucket that holds a second's worth.
        is_down: Whether it fails whatever comes.
        by_chance: The share of requests that it refuses whatever the limits.
        body: Of a refusal.
    """

    by_chance = 0.0
    body = b'{"code":"1300"}'

    def __init__(self, *, requests=None, tokens=None, bucket_per_s=None, headers=True, wait=None):
        self.requests, self.tokens, self.bucket_per_s = requests, tokens, bucket_per_s
        self.is_down = False
        self.served = self.refused = self.failed = 0
        self._headers, self._wait = headers, wait
        self._arrived, self._debited = deque(), deque()
        self._level, self._filled_s = bucket_per_s or 0.0, 0.0
        self._dice = random.Random(1)

    async def __call__(self, request):
        await asyncio.sleep(self._dice.random() * 0.05)
        if self.is_down:
            await asyncio.sleep(0.02)
            self.failed += 1
            return httpx.Response(503, content=b"down")
        if self._dice.random() < self.by_chance or not self._admits():
            await asyncio.sleep(0.02)
            self.refused += 1
            return httpx.Response(429, headers=self._told(), content=self.body)
        self._arrived.append((now(), 1))
        await asyncio.sleep(LATENCY_S * math.exp(self._dice.gauss(0, 0.3)))
        answer_tokens = self._dice.randint(50, 150)
        self._debited.append((now(), PROMPT_TOKENS + answer_tokens))
        self.served += 1
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": answer_tokens}
        message = {"message": {"content": "a cat"}, "finish_reason": "stop"}
        content = orjson.dumps({"model": "m", "choices": [message], "usage": usage})
        return httpx.Response(200, headers=self._told(), content=content)

    def _admits(self):
        if self.bucket_per_s is not None:
            passed_s, self._filled_s = now() - self._filled_s, now()
            full = max(1.0, self.bucket_per_s)
            self._level = min(full, self._level + passed_s * self.bucket_per_s)
            is_admitted = self._level >= 1
            self._level -= is_admitted
            return is_admitted
        return 0 not in (left(self.requests, self._arrived), left(self.tokens, self._debited))

    def _told(self):
        told = {} if self._wait is None else {"retry-after": str(self._wait)}
        if not self._headers or self.bucket_per_s is not None:
            return told
        for name, limit, log in (
            ("req", self.requests, self._arrived),
            ("tokens", self.tokens, self._debited),
        ):
            if limit is not None:
                told[f"x-ratelimit-limit-{name}-minute"] = str(limit)
                told[f"x-ratelimit-remaining-{name}-minute"] = str(left(limit, log))
        return told


def now():
    return asyncio.get_running_loop().time()


def left(limit, log):
    if limit is None:
        return math.inf
    while log and log[0][0] <= now() - 60:
        log.popleft()
    used = len(log) if log and log[0][1] == 1 else sum(amount for _, amount in log)
    return max(0, limit - used)


async def pause(seconds):
    await asyncio.sleep(seconds)
