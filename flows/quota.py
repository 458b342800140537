"""A quota that several processes share, kept by a Prefect server as global concurrency limits."""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from math import ceil

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectAlreadyExists, PrefectException
from prefect.settings import PREFECT_API_URL

from vision_pipeline.core.config import LimitsConfig
from vision_pipeline.core.errors import QuotaServerError
from vision_pipeline.core.limits import MINUTE_S, SHARED_FILL, QuotaKind

# The server forgets fractions of a slot at each change, so that one request is many slots.
SLOTS = {"requests": 1000, "tokens": 1}
AHEAD_S = 600.0  # that may be leased ahead by all processes together; a refusal costs slots
_MOST_SLOTS = 2**31 - 1  # of the server's integers
_CALL_S = 5.0
_FAULTS = (httpx.HTTPError, OSError, PrefectException, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Limit:
    name: str
    slots_each: int
    slots_per_s: float

    @property
    def most_slots(self) -> int:
        return min(_MOST_SLOTS, ceil(AHEAD_S * self.slots_per_s))

    def slots(self, amount: float) -> int:
        return max(1, min(self.most_slots, ceil(amount * self.slots_each)))


class PrefectQuota:
    """Leases a quota by global concurrency limits, of which each lease occupies slots.

    Slots decay at the rate of the quota, and what is occupied beyond one lease is what others wait
    for: a lease is granted at once, to be used when all before it have decayed. The limits are
    made, or set to these rates, when the server is first asked.

    Args:
        name: Of the quota; that of the limits is `<name>-requests` and `<name>-tokens`.
        requests_per_minute: The whole quota.
        tokens_per_minute: Likewise.
    """

    def __init__(self, name: str, *, requests_per_minute: float, tokens_per_minute: float) -> None:
        rates: dict[QuotaKind, float] = {
            "requests": requests_per_minute,
            "tokens": tokens_per_minute,
        }
        self._limits = {
            kind: _Limit(f"{name}-{kind}", SLOTS[kind], SLOTS[kind] * SHARED_FILL * rate / MINUTE_S)
            for kind, rate in rates.items()
        }
        self._made: set[str] = set()
        self._stack = AsyncExitStack()
        self._client: PrefectClient | None = None
        self._opening = asyncio.Lock()

    async def lease(self, kind: QuotaKind, amount: float) -> float:
        """Set requests or tokens aside; returns in how many seconds they may be used.

        Raises:
            QuotaServerError: The server is away, or the limit was deleted, switched off or leased
                for `AHEAD_S`.
        """
        limit = self._limits[kind]
        slots = limit.slots(amount)
        try:
            client = await self._open()
            await self._make(client, limit)
            await client.increment_concurrency_slots([limit.name], slots, "rate_limit")
            found = await client.read_global_concurrency_limit_by_name(limit.name)
        except _FAULTS as error:
            self._made.discard(limit.name)
            raise QuotaServerError(_cause(error)) from error
        if not found.active:
            raise QuotaServerError(f"its limit {limit.name} is switched off")
        # The decay that the server has, should somebody have changed it there.
        return max(0.0, (found.active_slots - slots) / found.slot_decay_per_second)

    async def give_back(self, kind: QuotaKind, amount: float) -> None:
        """Return what was set aside and is not used; raises QuotaServerError."""
        limit = self._limits[kind]
        try:
            client = await self._open()
            await client.release_concurrency_slots([limit.name], limit.slots(amount), 1.0)
        except _FAULTS as error:
            raise QuotaServerError(_cause(error)) from error

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stack.aclose()

    async def _open(self) -> PrefectClient:
        async with self._opening:
            if self._client is None:
                if not PREFECT_API_URL.value():
                    raise QuotaServerError("no Prefect server is set, by PREFECT_API_URL")
                # One of its own: the time-outs of the run's are long.
                client = get_client(httpx_settings={"timeout": _CALL_S})
                self._client = await self._stack.enter_async_context(client)
            return self._client

    async def _make(self, client: PrefectClient, limit: _Limit) -> None:
        if limit.name not in self._made:
            with suppress(ObjectAlreadyExists):  # by another process, since it was looked for
                await client.upsert_global_concurrency_limit_by_name(
                    limit.name, limit.most_slots, limit.slots_per_s
                )
            self._made.add(limit.name)


def _cause(error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def quota_server(limits: LimitsConfig) -> PrefectQuota | None:
    """What keeps the quota that a configuration shares; None where it shares none."""
    if limits.shared.name is None:
        return None
    return PrefectQuota(
        limits.shared.name,
        requests_per_minute=float(limits.requests_per_minute),
        tokens_per_minute=float(limits.tokens_per_minute),
    )
