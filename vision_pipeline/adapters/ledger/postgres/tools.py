"""Looking into a ledger in a database: counts, checks, export, deletion."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg

from vision_pipeline.adapters.ledger.inspection import Inspection, RunInLedger, count_models
from vision_pipeline.adapters.ledger.postgres.opening import connect, explained, one_line, reading
from vision_pipeline.adapters.ledger.postgres.replies import stored_rows
from vision_pipeline.adapters.ledger.postgres.schema import (
    SCHEMA_VERSION,
    Connection,
    read_version,
)
from vision_pipeline.adapters.ledger.pruning import Choice, Pruning
from vision_pipeline.adapters.ledger.rows import LedgerRow, Payment
from vision_pipeline.adapters.ledger.verification import Verification, check_replies
from vision_pipeline.core.databases import Database
from vision_pipeline.core.models import total_usd

_KEYS = (
    "SELECT count(*), count(nullif(n, 1)) "
    "FROM (SELECT count(*) n FROM vision_pipeline_replies GROUP BY key) asked"
)
_RUNS = (
    "SELECT run_id, count(*), sum(cost_usd), min(answered_at), max(answered_at) "
    "FROM vision_pipeline_replies GROUP BY run_id ORDER BY min(number)"
)
_PAYMENTS = (
    "SELECT key, paid_by, cost_usd FROM vision_pipeline_replies "
    "WHERE run_id = ANY(%s::text[]) ORDER BY number"
)
_SIZE = "SELECT pg_total_relation_size('vision_pipeline_replies')"
_VACUUM = "VACUUM vision_pipeline_replies"

# One statement for every choice: what is not asked for is null, and holds for all rows.
_CHOSEN = """
FROM vision_pipeline_replies chosen
WHERE (%(before)s::timestamptz IS NULL OR answered_at < %(before)s::timestamptz)
AND (%(runs)s::text[] IS NULL OR run_id = ANY(%(runs)s::text[]))
AND (NOT %(superseded)s OR EXISTS (
    SELECT 1 FROM vision_pipeline_replies newer
    WHERE newer.key = chosen.key AND newer.number > chosen.number
))
"""
_BY_RUN: LiteralString = (
    "SELECT run_id, count(*), sum(cost_usd), sum(length(body)) "
    f"{_CHOSEN} GROUP BY run_id ORDER BY run_id"
)
_UNANSWERED: LiteralString = (
    f"SELECT count(*) FROM (SELECT key, count(*) AS n {_CHOSEN} GROUP BY key) gone WHERE n = "  # noqa: S608  (constants)
    "(SELECT count(*) FROM vision_pipeline_replies kept WHERE kept.key = gone.key)"
)
_DELETE: LiteralString = f"DELETE {_CHOSEN}"


@dataclass(frozen=True, slots=True)
class DatabaseTools:
    """`LedgerTools` for a database."""

    database: Database

    def inspect(self) -> Inspection:
        """As in `LedgerTools`; every body is read for its model."""
        with reading(self.database) as connection:
            questions, asked_again = connection.execute(_KEYS).fetchall()[0]
            runs = [_run(values) for values in connection.execute(_RUNS)]
            models = count_models(row.body for row in stored_rows(connection))
            size = _size(connection)
        return Inspection(
            path=self.database.url,
            replies=sum(run.replies for run in runs),
            questions=questions,
            asked_again=asked_again,
            cost_usd=total_usd(run.cost_usd for run in runs),
            runs=runs,
            models=models,
            file_bytes=size,
            log_bytes=0,
            format_version=SCHEMA_VERSION,
        )

    def payments(self, runs: Collection[str]) -> list[Payment]:
        """As in `LedgerTools`."""
        with reading(self.database) as connection:
            return [Payment(*values) for values in connection.execute(_PAYMENTS, [list(runs)])]

    def verify(self, *, now: datetime) -> Verification:
        """As in `LedgerTools`; the pages of the database are its server's to check."""
        found = Verification(self.database.url)
        with self.replies() as rows:
            check_replies(rows, found, now=now)
        return found

    @contextmanager
    def replies(self) -> Iterator[Iterator[LedgerRow]]:
        """As in `LedgerTools`."""
        with reading(self.database) as connection:
            yield stored_rows(connection)

    def preview(self, choice: Choice) -> Pruning:
        """As in `LedgerTools`."""
        with reading(self.database) as connection:
            return _chosen(connection, choice)

    def prune(self, choice: Choice) -> Pruning:
        """As in `LedgerTools`; what is deleted is what is counted, whoever writes meanwhile."""
        with reading(self.database) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.transaction():
                found = _chosen(connection, choice)
                connection.execute(_DELETE, _parameters(choice))
        return found

    def vacuum(self) -> str | None:
        """As in `LedgerTools`; the room is the table's again, not the disk's."""
        try:
            with connect(self.database) as connection:
                connection.execute(_VACUUM)
        except psycopg.Error as error:
            return one_line(error)
        return None

    def size_bytes(self) -> int:
        """As in `LedgerTools`, with indexes."""
        with reading(self.database) as connection:
            return _size(connection)

    def probe(self) -> str:
        """As in `LedgerTools`."""
        with explained(self.database), connect(self.database) as connection:
            if not read_version(connection, self.database, newest=SCHEMA_VERSION):
                return "answers; a run makes the ledger in it"
            found = connection.execute("SELECT count(*) FROM vision_pipeline_replies")
            return f"answers; {found.fetchall()[0][0]} replies"


def _run(values: tuple[Any, ...]) -> RunInLedger:
    run_id, replies, cost_usd, first, last = values
    return RunInLedger(run_id, replies, cost_usd, first.isoformat(), last.isoformat())


def _size(connection: Connection) -> int:
    return int(connection.execute(_SIZE).fetchall()[0][0])


def _chosen(connection: Connection, choice: Choice) -> Pruning:
    parameters = _parameters(choice)
    found = connection.execute(_BY_RUN, parameters).fetchall()
    return Pruning(
        runs={run_id: replies for run_id, replies, _, _ in found},
        cost_usd=total_usd(cost for _, _, cost, _ in found),
        body_bytes=sum(int(body_bytes) for *_, body_bytes in found),
        unanswered=connection.execute(_UNANSWERED, parameters).fetchall()[0][0],
    )


def _parameters(choice: Choice) -> dict[str, Any]:
    return {
        "before": choice.before,
        "runs": list(choice.runs) or None,
        "superseded": choice.superseded,
    }
