"""Politeness: how many requests go to one host at once, and when it wants to be left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vision_pipeline.adapters.fetch.settings import Clock, FetchSettings


@dataclass(slots=True)
class _Host:
    slots: asyncio.Semaphore
    users: int = 0  # who hold a slot or wait for one
    resume_at_s: float = 0.0


class HostGate:
    """Lets requests through to their hosts, one slot each.

    Only hosts that are asked at the moment, or that still want to be left alone, are remembered.
    """

    def __init__(self, settings: FetchSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._connections = asyncio.Semaphore(settings.max_connections)
        self._hosts: dict[str, _Host] = {}

    def __len__(self) -> int:
        """How many hosts are remembered."""
        return len(self._hosts)

    @asynccontextmanager
    async def turn(self, origin: str) -> AsyncIterator[None]:
        """Wait until a request to that host may go; the block is the request.

        Args:
            origin: Scheme, host and port.
        """
        host = self._hosts.get(origin)
        if host is None:
            slots = asyncio.Semaphore(self._settings.max_per_host)
            host = self._hosts[origin] = _Host(slots)
        host.users += 1
        try:
            # The host's slot first: who waits for a busy host keeps no other host waiting.
            async with host.slots:
                await self._wait_out(host)
                async with self._connections:
                    yield
        finally:
            host.users -= 1
            if self._is_idle(host):
                del self._hosts[origin]

    def pause(self, origin: str, wait_s: float) -> None:
        """Send nothing more to a host for a while; to be called within a turn of its own.

        Args:
            origin: Scheme, host and port.
            wait_s: As the host asked for; cut to `max_pause_s`.
        """
        host = self._hosts[origin]
        resume_at_s = self._clock.now() + min(wait_s, self._settings.max_pause_s)
        host.resume_at_s = max(host.resume_at_s, resume_at_s)
        # A paused host outlives its last turn, so somebody has to clear it away later.
        for name in [name for name, each in self._hosts.items() if self._is_idle(each)]:
            del self._hosts[name]

    async def _wait_out(self, host: _Host) -> None:
        while (wait_s := host.resume_at_s - self._clock.now()) > 0:
            await self._clock.sleep(wait_s)

    def _is_idle(self, host: _Host) -> bool:
        return not host.users and host.resume_at_s <= self._clock.now()
