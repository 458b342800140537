"""How time passes for whoever waits between requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Clock:
    """How time passes.

    Attributes:
        now: Seconds that never run backwards.
        sleep: Waits for that many seconds.
        jitter: Uniform in [0, 1), so that what failed together is not tried again together.
    """

    now: Callable[[], float] = monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


SYSTEM_CLOCK = Clock()
