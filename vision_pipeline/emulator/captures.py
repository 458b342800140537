"""What was asked and answered, for tests to look at."""

from __future__ import annotations

from collections import deque
from typing import Any

import orjson

from vision_pipeline.emulator.settings import EmulatorSettings


class Captures:
    """The latest requests with their faults and replies, if the settings say so."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self.is_on = settings.capture
        self._latest: deque[dict[str, Any]] = deque(maxlen=settings.most_captured)

    def add(
        self, request: str, *, body: object, fault: str | None, status: int | None, reply: bytes
    ) -> None:
        """Keep one.

        Args:
            request: Method and path, or `batch line`.
            body: What was asked: parsed, or as it came.
            fault: The kind that it met.
            status: HTTP status; None without an answer.
            reply: The body of the answer.
        """
        if self.is_on:
            self._latest.append(
                {
                    "request": request,
                    "body": loaded(body) if isinstance(body, bytes) else body,
                    "fault": fault,
                    "status": status,
                    "reply": None if status is None else loaded(reply),
                }
            )

    def clear(self) -> None:
        """Forget all."""
        self._latest.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """All, oldest first."""
        return list(self._latest)


def loaded(raw: bytes) -> object:
    """Parsed JSON; what is none, as text."""
    try:
        parsed: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")
    return parsed
