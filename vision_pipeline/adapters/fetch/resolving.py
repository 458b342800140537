"""Host names to addresses, and to none that may not be reached."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from vision_pipeline.adapters.fetch.urls import ALLOWING, NEVER
from vision_pipeline.core.addresses import is_reachable

Resolve = Callable[[str, int, socket.AddressFamily], Awaitable[list[ResolveResult]]]


class BlockedAddressError(OSError):
    """A name that leads to addresses that may not be reached, and to no other."""


class PublicResolver(AbstractResolver):
    """Names to addresses that may be reached, and to no others.

    The connector connects to what this returns, so the address checked is the address reached:
    a name that changes its answer between check and connection gains nothing.
    """

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._resolve = resolve
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be reached.

        Raises:
            OSError: The name is not known, or leads to no address that may be reached.
        """
        found = await self._resolve(host, port, family)
        allowed = self._allow_private
        reachable = [each for each in found if is_reachable(each["host"], allow_private=allowed)]
        if found and not reachable:
            reason = NEVER if allowed else f"has no public address ({ALLOWING})"
            raise BlockedAddressError(f"{host} {reason}")
        return reachable

    async def close(self) -> None:
        """Nothing is held."""


async def resolve_by_system(
    host: str, port: int, family: socket.AddressFamily
) -> list[ResolveResult]:
    """Ask the operating system for a host's addresses.

    Raises:
        OSError: The name is not known.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=port,
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in found
    ]
