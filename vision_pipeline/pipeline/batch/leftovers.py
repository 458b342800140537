"""What batch jobs have left unanswered, and what of it is worth another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set

from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.errors import ErrorCode
from vision_pipeline.pipeline.batch.askers import failure_of

MOST_TRIES = 3  # of a request, in as many jobs
MOST_REFUSALS = 10  # by a rate limit: that is no fault of the request


def latest_round(parts: Iterable[Part]) -> int:
    """0 before the first."""
    return max((part.round for part in parts), default=0)


def failures(parts: Iterable[Part]) -> dict[str, tuple[int, str]]:
    """Status and body of requests that failed, by idempotency key; the latest counts."""
    return {key: told for part in parts for key, told in part.failures.items()}


def known(parts: Iterable[Part], *, again: bool) -> Set[str]:
    """Idempotency keys of what is not handed over once more.

    Args:
        parts: All of a run.
        again: Whether what a job leaves unanswered goes into a further one.
    """
    given = list(parts)
    tries = Counter(key for part in given for key in part.payers)
    if not again:
        return tries.keys()
    failed = failures(given)
    on_their_way = {key for part in given if part.is_open for key in part.payers}
    hopeless = {key for key, told in failed.items() if _is_hopeless(told)}
    spent = {key for key, tried in tries.items() if tried >= _most(failed.get(key))}
    return on_their_way | hopeless | spent


def is_wanting(part: Part) -> bool:
    """Whether one more job may answer some of its requests."""
    hopeless = sum(map(_is_hopeless, part.failures.values()))
    return part.answered - part.unusable + hopeless < part.requests


def _is_hopeless(failure: tuple[int, str]) -> bool:
    return not failure_of(*failure).code.is_transient


def _most(failure: tuple[int, str] | None) -> int:
    if failure is not None and failure_of(*failure).code is ErrorCode.RATE_LIMITED:
        return MOST_REFUSALS
    return MOST_TRIES
