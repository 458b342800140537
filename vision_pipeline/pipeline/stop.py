"""How a run ends early: one flag for all shards, and why it was raised."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from vision_pipeline.core.errors import StoppedError


@dataclass(slots=True)
class Stop:
    """Raised once; nothing new is begun after it, and what is on the wire may finish.

    Attributes:
        cause: The first reason; later ones are its consequences.
    """

    requested: asyncio.Event = field(default_factory=asyncio.Event)
    cause: BaseException | None = None

    def request(self, cause: BaseException) -> None:
        """Ask everything to end."""
        if self.cause is None:
            self.cause = cause
        self.requested.set()

    def by_user(self) -> None:
        """Ask everything to end, as a signal does."""
        self.request(StoppedError("stopped; the same command goes on from here"))
