"""Replies that are paid for and that no row holds yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from vision_pipeline.adapters.ledger.rows import Payment
from vision_pipeline.core.errors import RunError
from vision_pipeline.core.models import total_usd
from vision_pipeline.results.table import has_rows, open_folder, read_rows
from vision_pipeline.wiring.ledgers import ledger_of_output, ledger_tools


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the same command makes rows of without a call.

    Attributes:
        replies: How many.
        cost_usd: What they cost at list price, or None where none had one.
        problem: Why the ledger cannot be asked, or "".
    """

    replies: int = 0
    cost_usd: float | None = None
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def waiting_replies(output: str, unfinished: Collection[str]) -> Waiting:
    """Count the replies of unfinished runs that are in the ledger only.

    Args:
        output: An output folder.
        unfinished: Ids of its runs that are not finished; without any the ledger is not looked at.

    Raises:
        OutputError: The folder cannot be read.
    """
    if not unfinished:
        return Waiting()
    try:
        payments = ledger_tools(ledger_of_output(output)).payments(unfinished)
    except RunError as error:
        return Waiting(problem=str(error))
    waiting = _without_row(payments, _keys(output))
    return Waiting(len(waiting), total_usd(each.cost_usd for each in waiting))


def _without_row(payments: list[Payment], keys: Collection[str]) -> list[Payment]:
    # By item: its row names the key of its question, not the one of a repair turn.
    by_item: defaultdict[str, list[Payment]] = defaultdict(list)
    for payment in payments:
        by_item[payment.paid_by].append(payment)
    return [
        payment
        for paid in by_item.values()
        if not any(each.key.hex() in keys for each in paid)
        for payment in paid
    ]


def _keys(output: str) -> Collection[str]:
    folder = open_folder(output)
    if not has_rows(folder):
        return ()
    return set(read_rows(folder, columns=["idempotency_key"])["idempotency_key"].to_pylist())
