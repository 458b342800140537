"""What holds at a moment: the settings as steps and hands have changed them, and the limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vision_pipeline.emulator.limits import RateLimits
from vision_pipeline.emulator.problems import unauthorized
from vision_pipeline.emulator.script import Change, Script, Step
from vision_pipeline.emulator.settings import EmulatorSettings

_SHOWN = (
    *("faults", "requests_per_minute", "tokens_per_minute", "latency_s"),
    *("batch_queue_s", "batch_run_s"),
)


class Conditions:
    """The settings in force and the quotas under them.

    Steps are taken when somebody looks, and take effect as of their own moment.

    Args:
        settings: What holds at first, with the script that changes it.
    """

    def __init__(self, settings: EmulatorSettings) -> None:
        self._at_first = settings
        self.reset()

    def reset(self) -> None:
        """Begin anew, as after the start."""
        self.settings = settings = self._at_first
        self.limits = RateLimits(
            settings.limit_kind,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            burst_s=settings.burst_s,
        )
        self._script = Script(settings.script)

    def arrive(self, now_s: float) -> None:
        """Count a request for something new, and take the steps that it is the first to meet."""
        if not self._script.is_over:
            self._take(self._script.arrive(now_s))

    def keep_up(self, now_s: float) -> None:
        """Take the steps whose time has come."""
        if not self._script.is_over:
            self._take(self._script.due(now_s))

    def authorize(self, authorization: str, now_s: float) -> None:
        """Look at the header that carries the key.

        Raises:
            RefusalError: 401; there is no key, or not the one that is accepted now.
        """
        self.keep_up(now_s)
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        wanted = self.settings.api_key
        if scheme.lower() != "bearer" or not key or (wanted is not None and key != wanted):
            raise unauthorized()

    def change(self, change: Change, at_s: float) -> None:
        """Let other settings hold from a moment on, which is not before any earlier one."""
        changed = change.settings()
        self.settings = settings = replace(self.settings, **changed)
        if "requests_per_minute" in changed or "tokens_per_minute" in changed:
            self.limits.change(
                requests_per_minute=settings.requests_per_minute,
                tokens_per_minute=settings.tokens_per_minute,
                now_s=at_s,
            )

    def shown(self) -> dict[str, Any]:
        """The settings that can change, without the key."""
        return {name: getattr(self.settings, name) for name in _SHOWN}

    def _take(self, due: list[tuple[float, Step]]) -> None:
        for at_s, step in due:
            self.change(step, at_s)
