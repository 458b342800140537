"""How URLs are fetched, and what time is to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How URLs are fetched.

    Attributes:
        max_bytes: A longer body is refused, or cut off where its length was not announced.
        timeout_s: For one attempt as a whole, redirects among it; waiting for a turn is not.
        max_redirects: How many are followed.
        backoffs_s: The waits before each further attempt; as many retries.
        allow_private: Whether private, loopback and link-local addresses may be reached.
        max_connections: Requests at once, to all hosts; at least 1.
        max_per_host: Requests at once to one scheme, host and port; at least 1.
        max_pause_s: The longest wait that a host's `Retry-After` may cause.
    """

    max_bytes: int = 100 * 1024 * 1024
    timeout_s: float = 30.0
    max_redirects: int = 5
    backoffs_s: tuple[float, ...] = (0.5, 2.0)
    allow_private: bool = False
    max_connections: int = 64
    max_per_host: int = 8
    max_pause_s: float = 60.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """How time passes.

    Attributes:
        now: Seconds that never run backwards.
        sleep: Waits for that many seconds.
        utc_now: The date, which a `Retry-After` may name.
    """

    now: Callable[[], float] = monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    utc_now: Callable[[], datetime] = _utc_now


SYSTEM_CLOCK = Clock()
