"""Whether a ledger is sound: the file by SQLite's own check, and each reply in it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from vision_pipeline.adapters.ledger.damage import DamageError, is_damage
from vision_pipeline.adapters.ledger.opening import reading
from vision_pipeline.adapters.ledger.rows import (
    LedgerRow,
    is_between,
    is_reply,
    stored_rows,
)
from vision_pipeline.core.protocol import BrokenReplyError, read_reply

MAX_COST_USD = 1000.0  # for one reply; no model's longest answer comes near
OLDEST = datetime(2020, 1, 1, tzinfo=UTC)
_MAX_COMPLAINTS = 20


class Fault(StrEnum):
    """What may be wrong; the values are stable."""

    DAMAGED_FILE = "damaged_file"
    NO_REPLY = "no_reply"
    UNREADABLE_BODY = "unreadable_body"
    COST = "cost"
    TIME = "time"
    PAYER = "payer"

    @property
    def advice(self) -> str:
        """The cause, and what to do."""
        return _ADVICE[self]


_SALVAGE = "`vision-pipeline ledger salvage` saves what can be read"
_ADVICE = {
    Fault.DAMAGED_FILE: f"the file is damaged: {_SALVAGE}",
    Fault.NO_REPLY: f"rows that no ledger writes: the file was damaged or edited; {_SALVAGE}",
    Fault.UNREADABLE_BODY: "no chat completion: their items are rows with invalid_answer; "
    "`run --fresh` asks again",
    Fault.COST: "no cost of a reply: sums and budgets are off; `ledger prune --run` drops a run's "
    "replies, which are then paid for again",
    Fault.TIME: "no time of a reply, such as one in the future: was the clock wrong? They are used "
    "like all others, but `ledger prune --before` may miss them",
    Fault.PAYER: "paid by another run than the one that counts the cost: was the file edited?",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault.

    Attributes:
        fault: Which one.
        rows: How many replies have it; of a damaged file, how many complaints SQLite has.
        example: The first one.
    """

    fault: Fault
    rows: int
    example: str


@dataclass(slots=True)
class Verification:
    """What was checked and what was found.

    Attributes:
        replies: Rows read.
        findings: Empty where all is well.
    """

    path: str
    replies: int = 0
    findings: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = [asdict(each) | {"advice": each.fault.advice} for each in self.findings]
        return {"path": self.path, "replies": self.replies, "findings": found}


def verify(path: Path, *, now: datetime) -> Verification:
    """Check the file page by page and every reply; the longest part is SQLite's check.

    Raises:
        OutputError: No ledger, or one that cannot be opened for another reason than damage.
    """
    found = Verification(str(path))
    complaints: list[str] = []
    try:
        with reading(path) as connection:
            complaints += _complaints(connection)
            check_replies(stored_rows(connection), found, now=now)
    except DamageError as error:
        complaints.append(error.cause)
    if complaints:
        found.findings.insert(0, Finding(Fault.DAMAGED_FILE, len(complaints), complaints[0]))
    return found


def check_replies(rows: Iterable[LedgerRow], found: Verification, *, now: datetime) -> None:
    """Check each reply, and add up what is wrong, also if reading them breaks off."""
    counts: Counter[Fault] = Counter()
    examples: dict[Fault, str] = {}
    try:
        for row in rows:
            found.replies += 1
            for fault in faults(row, now=now):
                counts[fault] += 1
                examples.setdefault(fault, f"reply {row.number} of run {row.run_id!r:.60}")
    finally:
        found.findings += [Finding(fault, n, examples[fault]) for fault, n in counts.items()]


def is_sound(path: Path, *, now: datetime) -> bool:
    """Whether there is nothing to salvage: the file is whole, and each row of it is a reply.

    Raises:
        OutputError: No ledger, or one that cannot be opened for another reason than damage.
    """
    found = verify(path, now=now)
    return not {Fault.DAMAGED_FILE, Fault.NO_REPLY}.intersection(
        each.fault for each in found.findings
    )


def _complaints(connection: sqlite3.Connection) -> list[str]:
    try:
        lines = [
            line
            for (text,) in connection.execute(f"PRAGMA integrity_check({_MAX_COMPLAINTS})")
            for line in str(text).splitlines()
            if not line.startswith("***")  # which database it is: there is one
        ]
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return [str(error)]
    return [] if lines == ["ok"] else lines


def faults(row: LedgerRow, *, now: datetime) -> Iterator[Fault]:
    """What is wrong with one reply."""
    if not is_reply(row):
        yield Fault.NO_REPLY
        return
    try:
        read_reply(row.body)
    except BrokenReplyError:
        yield Fault.UNREADABLE_BODY
    if row.cost_usd is not None and not is_between(row.cost_usd, 0.0, MAX_COST_USD):
        yield Fault.COST
    if not _is_sane(row.answered_at, now=now):
        yield Fault.TIME
    # A copy under another question costs nothing, and names who paid.
    if row.cost_usd and not row.paid_by.startswith(f"{row.run_id}/"):
        yield Fault.PAYER


def _is_sane(text: str, *, now: datetime) -> bool:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return False
    return OLDEST <= moment <= now + timedelta(days=1)  # clocks of several machines
