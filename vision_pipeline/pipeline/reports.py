"""What processes that work for a run tell the one that leads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vision_pipeline.core.activity import Stage
from vision_pipeline.pipeline.progress import Progress

_COUNTS = (
    "worked",
    "ok",
    "repaired",
    "from_ledger",
    "calls",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
)
_TRAFFIC = ("sent", "refused", "failed")


@dataclass(frozen=True, slots=True)
class Report:
    """What one process did since its last report, and what it is doing.

    Attributes:
        counts: Of `Progress`, by name.
        traffic: Of `Activity`, by name.
        errors: Rows by error code.
        seconds: Where its time went.
        in_flight: Requests that await a reply.
        most_in_flight: The most so far.
        room: How many may be in flight.
        requests_used: Within the last minute.
        tokens_used: Likewise.
        news: Why nothing moves in it; "" as long as something does.
    """

    counts: dict[str, float]
    traffic: dict[str, int]
    errors: Counter[str]
    seconds: dict[Stage, float]
    in_flight: int
    most_in_flight: int
    room: int
    requests_used: float
    tokens_used: float
    news: str


class Reporter:
    """Reports on the progress of the process that it is in.

    Args:
        progress: Raised by the work.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told: Report | None = None

    def report(self) -> Report:
        """What came since the last report."""
        now, told = self._whole(), self._told
        self._told = now
        if told is None:
            return now
        return Report(
            counts={name: count - told.counts[name] for name, count in now.counts.items()},
            traffic={name: count - told.traffic[name] for name, count in now.traffic.items()},
            errors=now.errors - told.errors,
            seconds={
                stage: seconds - told.seconds.get(stage, 0.0)
                for stage, seconds in now.seconds.items()
            },
            in_flight=now.in_flight,
            most_in_flight=now.most_in_flight,
            room=now.room,
            requests_used=now.requests_used,
            tokens_used=now.tokens_used,
            news=now.news,
        )

    def _whole(self) -> Report:
        progress, activity = self._progress, self._progress.activity
        activity.charge()
        return Report(
            counts={name: getattr(progress, name) for name in _COUNTS},
            traffic={name: getattr(activity, name) for name in _TRAFFIC},
            errors=Counter(progress.errors),
            seconds=dict(activity.seconds),
            in_flight=activity.in_flight,
            most_in_flight=activity.most_in_flight,
            room=activity.room,
            requests_used=activity.requests.used,
            tokens_used=activity.tokens.used,
            news=activity.news,
        )


def add(progress: Progress, report: Report) -> None:
    """Count what a process told; seconds are the sum over all processes."""
    activity = progress.activity
    for name, count in report.counts.items():
        setattr(progress, name, getattr(progress, name) + count)
    for name, count in report.traffic.items():
        setattr(activity, name, getattr(activity, name) + count)
    progress.errors.update(report.errors)
    for stage, seconds in report.seconds.items():
        activity.seconds[stage] += seconds
    activity.most_in_flight = max(activity.most_in_flight, report.most_in_flight)
    # Rows of a worker that was killed are done, and counted, once more.
    done = progress.done + int(report.counts["worked"])
    progress.done = done if progress.total is None else min(done, progress.total)


def show(progress: Progress, reports: Sequence[Report]) -> None:
    """Show what all processes are doing at the moment."""
    activity = progress.activity
    activity.in_flight = sum(report.in_flight for report in reports)
    activity.room = min([report.room for report in reports], default=activity.room)
    activity.requests.used = sum(report.requests_used for report in reports)
    activity.tokens.used = sum(report.tokens_used for report in reports)
    news = [report.news for report in reports if report.news]
    activity.elsewhere = news[0] if news and len(news) == len(reports) else ""
