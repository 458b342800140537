"""Replies deleted from a ledger on purpose."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from vision_pipeline.adapters.ledger.damage import as_output_error
from vision_pipeline.adapters.ledger.opening import connect, reading
from vision_pipeline.adapters.ledger.wal import size_bytes, wal_path
from vision_pipeline.core.models import total_usd

_VACUUM_TIMEOUT_S = 5.0

# One statement for every choice: what is not asked for is null, and holds for all rows.
_CHOOSE = """
CREATE TEMP TABLE chosen AS
SELECT number, key, run_id, cost_usd, length(body) AS body_bytes FROM replies
WHERE (:before IS NULL OR julianday(answered_at) < julianday(:before))
AND (:runs IS NULL OR run_id IN (SELECT value FROM json_each(:runs)))
AND (NOT :superseded OR EXISTS (
    SELECT 1 FROM replies newer WHERE newer.key = replies.key AND newer.number > replies.number
))
"""
_BY_RUN = (
    "SELECT run_id, count(*), sum(cost_usd), sum(body_bytes) FROM chosen "
    "GROUP BY run_id ORDER BY run_id"
)
_UNANSWERED = (
    "SELECT count(*) FROM (SELECT key, count(*) AS n FROM chosen GROUP BY key) gone "
    "WHERE n = (SELECT count(*) FROM replies WHERE replies.key = gone.key)"
)
_DELETE = "DELETE FROM replies WHERE number IN (SELECT number FROM chosen)"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which replies go: those that meet every condition that is set.

    Attributes:
        before: Answered before this moment; must have a time zone.
        runs: Paid for by one of these runs; empty for any.
        superseded: Only older replies to a question that was asked again.
    """

    before: datetime | None = None
    runs: tuple[str, ...] = ()
    superseded: bool = False

    def parameters(self) -> dict[str, Any]:
        """For the statements."""
        return {
            "before": self.before and self.before.isoformat(),
            "runs": json.dumps(self.runs) if self.runs else None,
            "superseded": self.superseded,
        }


@dataclass(frozen=True, slots=True)
class Pruning:
    """What goes, or what went.

    Attributes:
        runs: How many replies, by run.
        cost_usd: What they cost at list price, or None where none had one.
        body_bytes: Their size without the table around them.
        unanswered: Questions that have no reply left: whoever asks one pays again.
    """

    runs: dict[str, int]
    cost_usd: float | None
    body_bytes: int
    unanswered: int

    @property
    def replies(self) -> int:
        """How many in all."""
        return sum(self.runs.values())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"replies": self.replies} | asdict(self)


def preview(path: Path, choice: Choice) -> Pruning:
    """What `prune` would delete; changes nothing.

    Raises:
        OutputError: No ledger, or a damaged one.
    """
    with reading(path) as connection:
        return _choose(connection, choice)


def _choose(connection: sqlite3.Connection, choice: Choice) -> Pruning:
    connection.execute(_CHOOSE, choice.parameters())
    found = connection.execute(_BY_RUN).fetchall()
    return Pruning(
        runs={run_id: replies for run_id, replies, _, _ in found},
        cost_usd=total_usd(cost for _, _, cost, _ in found),
        body_bytes=sum(body_bytes for *_, body_bytes in found),
        unanswered=connection.execute(_UNANSWERED).fetchone()[0],
    )


def prune(path: Path, choice: Choice) -> Pruning:
    """Delete replies in one transaction; deleted content is overwritten, not only forgotten.

    A run may be under way: it pays again for what it needs of them.

    Raises:
        OutputError: No ledger, a damaged one, or one that another process holds for too long;
            nothing was deleted.
    """
    with contextlib.closing(connect(path)) as connection:
        try:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN IMMEDIATE")
            found = _choose(connection, choice)
            connection.execute(_DELETE)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise as_output_error(path, error) from error
    return found


def vacuum(path: Path) -> str | None:
    """Give the room of deleted replies back to the disk; returns why that was not possible.

    Needs room for a second copy meanwhile, and that nobody writes. Without it the room is used by
    the next replies.
    """
    opened = sqlite3.connect(path, timeout=_VACUUM_TIMEOUT_S, isolation_level=None)
    with contextlib.closing(opened) as connection:
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            return str(error)
    return None


def disk_bytes(path: Path) -> int:
    """Size of a ledger and of its log."""
    return size_bytes(path) + size_bytes(wal_path(path))
