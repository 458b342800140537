"""What is in a ledger: counts, runs, models, size."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vision_pipeline.adapters.ledger.opening import reading
from vision_pipeline.adapters.ledger.rows import Payment
from vision_pipeline.adapters.ledger.wal import HEADER_BYTES, size_bytes, wal_path
from vision_pipeline.core.models import total_usd
from vision_pipeline.core.protocol import BrokenReplyError, read_reply

NO_MODEL = "(unknown)"

_KEYS = "SELECT count(*), count(nullif(n, 1)) FROM (SELECT count(*) n FROM replies GROUP BY key)"
_RUNS = (
    "SELECT run_id, count(*), sum(cost_usd), min(answered_at), max(answered_at) "
    "FROM replies GROUP BY run_id ORDER BY min(number)"
)
_PAYMENTS = (
    "SELECT key, paid_by, cost_usd FROM replies "
    "WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY number"
)


@dataclass(frozen=True, slots=True)
class RunInLedger:
    """What one run paid for.

    Attributes:
        cost_usd: Sum at list price, or None where no reply had one.
        first_at: When its first reply came, ISO 8601.
        last_at: When its last one came.
    """

    run_id: str
    replies: int
    cost_usd: float | None
    first_at: str
    last_at: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a ledger holds.

    Attributes:
        questions: Distinct idempotency keys.
        asked_again: Questions with more than one reply.
        models: Replies by model, as the server named it.
        file_bytes: Size of the file without its log, or of the table with its indexes.
        log_bytes: Replies that wait in the write-ahead log, in bytes; they count like all others.
        format_version: Of the file's tables.
    """

    path: str
    replies: int
    questions: int
    asked_again: int
    cost_usd: float | None
    runs: list[RunInLedger]
    models: dict[str, int]
    file_bytes: int
    log_bytes: int
    format_version: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def payments(path: Path, runs: Collection[str]) -> list[Payment]:
    """Who paid for the replies of some runs; rows that are none are left out.

    Raises:
        OutputError: No ledger, or a damaged one.
    """
    with reading(path) as connection:
        found = connection.execute(_PAYMENTS, (json.dumps([*runs]),))
        return [Payment(*values) for values in found if _is_payment(*values)]


def _is_payment(key: object, paid_by: object, cost_usd: object) -> bool:
    return (
        isinstance(key, bytes)
        and isinstance(paid_by, str)
        and isinstance(cost_usd, int | float | None)
    )


def inspect(path: Path) -> Inspection:
    """Count what a ledger holds; every body is read for its model, at about 5 µs each.

    Raises:
        OutputError: No ledger, or a damaged one.
    """
    with reading(path) as connection:
        questions, asked_again = connection.execute(_KEYS).fetchone()
        runs = [RunInLedger(*values) for values in connection.execute(_RUNS)]
        bodies = (body for (body,) in connection.execute("SELECT body FROM replies"))
        models = count_models(bodies)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    return Inspection(
        path=str(path),
        replies=sum(run.replies for run in runs),
        questions=questions,
        asked_again=asked_again,
        cost_usd=total_usd(run.cost_usd for run in runs),
        runs=runs,
        models=models,
        file_bytes=size_bytes(path),
        log_bytes=max(0, size_bytes(wal_path(path)) - HEADER_BYTES),
        format_version=version,
    )


def count_models(bodies: Iterable[object]) -> dict[str, int]:
    """How many replies each model gave, as it is named in their bodies; the most frequent first."""
    return dict(Counter(map(_model, bodies)).most_common())


def _model(body: object) -> str:
    try:
        return read_reply(body).model or NO_MODEL if isinstance(body, bytes) else NO_MODEL
    except BrokenReplyError:
        return NO_MODEL
