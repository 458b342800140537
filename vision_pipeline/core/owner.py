"""Who holds an output folder: one command at a time writes into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that writes into an output folder, as others are told of it.

    Attributes:
        host: The machine's name.
        pid: The process there.
        work: What it does, such as `run of receipts`.
        since: When it began to hold the folder, UTC.
        run_id: The run that it works on, or "" while that is not planned yet.
        mark: Tells this holding from every other.
        beat_at: When it last gave a sign of life, UTC; None where its lock dies with it.
    """

    host: str
    pid: int
    work: str
    since: datetime
    run_id: str = ""
    mark: str = ""
    beat_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "host": self.host,
            "pid": self.pid,
            "work": self.work,
            "since": self.since.isoformat(),
            "run_id": self.run_id,
            "mark": self.mark,
            "beat_at": self.beat_at.isoformat() if self.beat_at else None,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """What `to_dict` made.

        Raises:
            ValueError: It did not make this.
        """
        try:
            beat_at = document["beat_at"]
            return cls(
                host=str(document["host"]),
                pid=int(document["pid"]),
                work=str(document["work"]),
                since=datetime.fromisoformat(document["since"]),
                run_id=str(document["run_id"]),
                mark=str(document["mark"]),
                beat_at=datetime.fromisoformat(beat_at) if beat_at else None,
            )
        except (LookupError, TypeError) as error:
            raise ValueError(f"no owner: {error!r}") from error

    def age_s(self, now: datetime) -> float:
        """Seconds since its last sign of life; 0 for one whose lock dies with it."""
        return 0.0 if self.beat_at is None else (now - self.beat_at).total_seconds()

    def told(self, now: datetime) -> str:
        """One line for a person: what is done, by which process, where, and since when."""
        work = f"{self.work} ({self.run_id})" if self.run_id else f"{self.work} (still planning)"
        since = self.since.astimezone(UTC)
        beat = f", last sign of life {_ago(self.age_s(now))}" if self.beat_at else ""
        return (
            f"{work}, process {self.pid} on {self.host}, "
            f"since {since:%Y-%m-%d %H:%M:%S} UTC ({_ago((now - since).total_seconds())}){beat}"
        )


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
