"""A quota that several processes use: leased in blocks, ahead of need, from a server of theirs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from vision_pipeline.core.config import LimitsConfig
from vision_pipeline.core.errors import QuotaServerError
from vision_pipeline.core.limits import MINUTE_S, QuotaKind

BLOCK_S = 0.25  # of the whole quota: what one lease brings
SLOW_S = 1.0  # an answer that takes longer holds up nothing: meanwhile the share is used
LOST_S = 10.0  # without an answer the server is away
# A try may take so long, and doubles: an answer that comes too late is a lease that nobody uses.
_FIRST_TIMEOUT_S, _MOST_TIMEOUT_S = 1.5, 6.0
_FIRST_RETRY_S, _MOST_RETRY_S = 0.25, 10.0
_TICK_S = 0.1
_LOG = logging.getLogger("vision_pipeline.quota")


class QuotaServer(Protocol):
    """Gives out a quota to all processes that ask, in the order in which they ask."""

    async def lease(self, kind: QuotaKind, amount: float) -> float:
        """Set requests or tokens aside; returns in how many seconds they may be used.

        Raises:
            QuotaServerError: It gives nothing at the moment.
        """

    async def give_back(self, kind: QuotaKind, amount: float) -> None:
        """Return what was set aside and is not used; raises QuotaServerError."""

    async def aclose(self) -> None:
        """Close the connection."""


class Nobody:
    """No server: each process keeps to its share."""

    async def lease(self, _kind: QuotaKind, _amount: float) -> float:
        """Give nothing."""
        raise QuotaServerError("there is none")

    async def give_back(self, _kind: QuotaKind, _amount: float) -> None:
        """Nothing was given."""

    async def aclose(self) -> None:
        """Nothing was opened."""


@dataclass(slots=True)
class Contact:
    """Whether the server is there, as all leases of a run know it; told once each way.

    Attributes:
        share: Of the quota, that is used while it is away.
        cause: Of the latest failure to get something.
    """

    share: float
    cause: str = ""
    is_lost: bool = False

    def lost(self) -> None:
        """Note that it has given nothing for a while."""
        if not self.is_lost:
            _LOG.warning(
                "the server of the shared quota is away (%s): this process goes on with %.0f %% "
                "of the quota",
                self.cause,
                100 * self.share,
            )
        self.is_lost = True

    def found(self) -> None:
        """Note that it gave something."""
        if self.is_lost:
            _LOG.warning("the server of the shared quota is back: the quota is shared again")
        self.is_lost = False


class Lease:
    """Requests or tokens that this process may use.

    A block is leased before the last one is used up, so that sending waits for the quota and never
    for the server. While that is away or slow, a fixed share of the quota is used instead.

    Args:
        server: Of the quota.
        kind: What is leased.
        per_minute: The whole quota.
        contact: With the server.
    """

    def __init__(
        self, server: QuotaServer, kind: QuotaKind, *, per_minute: float, contact: Contact
    ) -> None:
        self._server = server
        self._kind = kind
        self._per_s = per_minute / MINUTE_S
        self._block = max(1.0, BLOCK_S * self._per_s)
        self._contact = contact
        self._pool = 0.0
        self._ahead = 0.0  # leased, and not to be used yet
        self._wanted = 0.0  # by whoever waits
        self._changed = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    async def take(self, amount: float) -> None:
        """Wait until the quota grants that many; to be called by one at a time."""
        if self._pump is None:
            self._pump = asyncio.create_task(self._keep_filled())
        self._wanted = amount
        self._changed.set()
        while self._pool < amount:
            self._changed.clear()
            await self._changed.wait()
            if self._pump.done():
                self._pump.result()
        self._wanted = 0.0
        self._add(-amount)

    def settle(self, unused: float) -> None:
        """Account for what was taken and not used, or, below 0, used and not taken."""
        self._add(unused)

    async def aclose(self) -> None:
        """Stop leasing, and give back what was not used."""
        if self._pump is None:
            return
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        left = self._pool + self._ahead
        if left >= 1 and not self._contact.is_lost:
            with suppress(QuotaServerError, TimeoutError):
                async with asyncio.timeout(SLOW_S):
                    await self._server.give_back(self._kind, left)

    @property
    def _missing(self) -> float:
        return max(self._block, self._wanted) - self._pool - self._ahead

    def _add(self, amount: float) -> None:
        self._pool += amount
        self._changed.set()

    async def _keep_filled(self) -> None:
        try:
            while True:
                if self._missing > 0:
                    await self._lease(max(self._block, self._missing))
                else:
                    await self._changed.wait()
                    self._changed.clear()
        finally:
            self._changed.set()

    async def _lease(self, amount: float) -> None:
        """Lease a block; however long that takes, the share is there meanwhile."""
        loop = asyncio.get_running_loop()
        begun_s = now_s = loop.time()
        asking = asyncio.create_task(self._ask(amount))
        try:
            while not asking.done():
                before_s = now_s
                await asyncio.wait({asking}, timeout=_TICK_S)
                now_s = loop.time()
                if now_s - begun_s > SLOW_S and self._missing > 0:
                    self._add(self._contact.share * self._per_s * (now_s - before_s))
                if now_s - begun_s > LOST_S:
                    self._contact.lost()
        finally:
            asking.cancel()
            await asyncio.wait({asking})
        wait_s = asking.result()
        self._contact.found()
        self._ahead += amount
        loop.call_later(wait_s, self._arrive, amount)

    def _arrive(self, amount: float) -> None:
        self._ahead -= amount
        self._add(amount)

    async def _ask(self, amount: float) -> float:
        """Ask until the server grants it; returns in how many seconds it may be used."""
        timeout_s, retry_s = _FIRST_TIMEOUT_S, _FIRST_RETRY_S
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._server.lease(self._kind, amount)
            except TimeoutError:
                self._contact.cause = f"no answer within {timeout_s:g} s"
                timeout_s = min(2 * timeout_s, _MOST_TIMEOUT_S)
            except QuotaServerError as error:
                self._contact.cause = str(error)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _MOST_RETRY_S)


@dataclass(frozen=True, slots=True)
class Leases:
    """What a run leases: both quotas, or neither.

    Attributes:
        server: That gives them; closed with them.
    """

    requests: Lease | None = None
    tokens: Lease | None = None
    server: QuotaServer = field(default_factory=Nobody)

    async def aclose(self) -> None:
        """Stop leasing, give back what was not used, and close the connection."""
        for lease in (self.requests, self.tokens):
            if lease is not None:
                await lease.aclose()
        await self.server.aclose()


UNSHARED = Leases()


def open_leases(limits: LimitsConfig, server: QuotaServer | None) -> Leases:
    """The leases that a configuration asks for; nothing is leased before the first request."""
    shared = limits.shared
    if shared.name is None or shared.share is None:
        return UNSHARED
    keeper = server or Nobody()
    contact = Contact(shared.share)
    return Leases(
        requests=Lease(
            keeper, "requests", per_minute=float(limits.requests_per_minute), contact=contact
        ),
        tokens=Lease(keeper, "tokens", per_minute=float(limits.tokens_per_minute), contact=contact),
        server=keeper,
    )
