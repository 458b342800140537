"""Changes while the emulator runs: at once by hand, or step by step by a script."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Literal, TypeGuard

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.emulator.draws import check_rates


class Unset(Enum):
    """What a change says of a setting that it leaves as it is: None already means something."""

    UNSET = "unset"


UNSET: Literal[Unset.UNSET] = Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Other settings from some moment on; what is not given stays as it is.

    Attributes:
        faults: All rates of faults from then on; an empty mapping ends them.
        requests_per_minute: Per model; None for no limit, 0 to refuse everything.
        tokens_per_minute: Per model; None for no limit, 0 to refuse everything.
        latency_s: Least seconds for an answer.
        batch_queue_s: How long jobs made from then on wait before they run.
        batch_run_s: How long they run.
        api_key: The only key accepted from then on; None accepts any.

    Raises:
        ValueError: A value is not allowed; names the key and what is.
    """

    faults: Mapping[str, float] | Unset = UNSET
    requests_per_minute: int | Unset | None = UNSET
    tokens_per_minute: int | Unset | None = UNSET
    latency_s: float | Unset = UNSET
    batch_queue_s: float | Unset = UNSET
    batch_run_s: float | Unset = UNSET
    api_key: str | Unset | None = UNSET

    def __post_init__(self) -> None:
        for key, value in _given(self).items():
            allowed, is_allowed = _ALLOWED[key]
            if not is_allowed(value):
                raise ValueError(f"{key}: {value!r} is not {allowed}")
        if not isinstance(self.faults, Unset):
            check_rates(self.faults)

    def settings(self) -> dict[str, Any]:
        """The settings that it changes, by name."""
        given = _given(self)
        return {field.name: given[field.name] for field in fields(Change) if field.name in given}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Change):
    """A change with its moment: exactly one of the two.

    The requests are those that ask for something new: chat requests, uploads, batch jobs.

    Attributes:
        after_s: Seconds after the first request.
        after_requests: How many requests are received before those that it changes.

    Raises:
        ValueError: A value is not allowed, or there is not exactly one moment.
    """

    after_s: float | None = None
    after_requests: int | None = None

    def __post_init__(self) -> None:
        # By name: a class made anew for its slots is no longer the one that `super()` means.
        Change.__post_init__(self)
        if (self.after_s is None) == (self.after_requests is None):
            raise ValueError("a step has one of after_s and after_requests")


class Script:
    """Which steps are due; each once, in the order of their moments whatever their order here."""

    def __init__(self, steps: Sequence[Step]) -> None:
        timed = [(step.after_s, step) for step in steps if step.after_s is not None]
        counted = [(step.after_requests, step) for step in steps if step.after_requests is not None]
        self._timed = deque(sorted(timed, key=lambda pair: pair[0]))
        self._counted = deque(sorted(counted, key=lambda pair: pair[0]))
        self._first_s: float | None = None
        self._received = 0

    @property
    def is_over(self) -> bool:
        """Whether no step is left."""
        return not (self._timed or self._counted)

    def arrive(self, now_s: float) -> list[tuple[float, Step]]:
        """Count a request, and take the steps that it is the first to meet."""
        if self._first_s is None:
            self._first_s = now_s
        due = self.due(now_s)
        while self._counted and self._counted[0][0] <= self._received:
            due.append((now_s, self._counted.popleft()[1]))
        self._received += 1
        return due

    def due(self, now_s: float) -> list[tuple[float, Step]]:
        """Take the steps whose time has come, each with its moment on the clock."""
        due: list[tuple[float, Step]] = []
        if self._first_s is not None:
            while self._timed and self._first_s + self._timed[0][0] <= now_s:
                after_s, step = self._timed.popleft()
                due.append((self._first_s + after_s, step))
        return due


def parse_change(document: object) -> Change:
    """A change from parsed JSON.

    Raises:
        ValueError: Names the key and what is allowed.
    """
    return Change(**_checked_keys(document, Change))


def parse_script(document: object, *, file: str) -> tuple[Step, ...]:
    """The steps of a script from parsed YAML.

    Raises:
        ConfigError: Names file, step, counted from 1, key, and what is allowed.
    """
    if not isinstance(document, list):
        raise ConfigError(f"{file}: a script is a list of steps, not {document!r}")
    steps = []
    for number, row in enumerate(document, start=1):
        try:
            steps.append(Step(**_checked_keys(row, Step)))
        except ValueError as error:
            raise ConfigError(f"{file}: step {number}: {error}") from None
    return tuple(steps)


def _checked_keys(document: object, kind: type[Change]) -> dict[str, Any]:
    keys = [field.name for field in fields(kind)]
    match document:
        case dict():
            for key in document:
                if key not in keys:
                    raise ValueError(f"{key}: is not one of {', '.join(keys)}")
            return document
        case _:
            raise ValueError(f"{document!r} is not a mapping with keys of {', '.join(keys)}")


def _given(change: Change) -> dict[str, Any]:
    values = {field.name: getattr(change, field.name) for field in fields(change)}
    return {
        key: value
        for key, value in values.items()
        if value is not UNSET and not (value is None and key in _MOMENTS)
    }


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_limit(value: object) -> bool:
    return value is None or _is_count(value)


def _is_duration(value: object) -> bool:
    return _is_number(value) and value >= 0


def _is_key(value: object) -> bool:
    return value is None or (isinstance(value, str) and bool(value.strip()))


def _are_rates(value: object) -> bool:
    return isinstance(value, Mapping) and all(_is_number(rate) for rate in value.values())


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


_MOMENTS = ("after_s", "after_requests")
_ALLOWED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "after_s": ("a number of seconds >= 0", _is_duration),
    "after_requests": ("a whole number >= 0", _is_count),
    "faults": ("a mapping of kinds to rates within 0..1", _are_rates),
    "requests_per_minute": ("a whole number >= 0, or null", _is_limit),
    "tokens_per_minute": ("a whole number >= 0, or null", _is_limit),
    "latency_s": ("a number of seconds >= 0", _is_duration),
    "batch_queue_s": ("a number of seconds >= 0", _is_duration),
    "batch_run_s": ("a number of seconds >= 0", _is_duration),
    "api_key": ("a text that is not empty, or null", _is_key),
}
