"""What a person sees of a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from vision_pipeline.adapters.ledger.inspection import Inspection
    from vision_pipeline.adapters.ledger.pruning import Pruning
    from vision_pipeline.adapters.ledger.salvage import Salvaged
    from vision_pipeline.adapters.ledger.verification import Verification


def print_inspection(found: Inspection) -> None:
    """What a ledger holds."""
    _say(f"{found.path}: ledger format {found.format_version}, {size(found.file_bytes)}")
    if found.log_bytes:
        _say(f"and {size(found.log_bytes)} in its write-ahead log, which belongs to it")
    again = f", {found.asked_again} of them asked again" if found.asked_again else ""
    _say(f"{found.replies} replies to {found.questions} questions{again}; {_usd(found.cost_usd)}")
    if not found.replies:
        return
    models = _table("model", "replies")
    for name, replies in found.models.items():
        models.add_row(Text(name), str(replies))
    runs = _table("run", "replies", "USD", "first", "last")
    for run in found.runs:
        cost = "" if run.cost_usd is None else f"{run.cost_usd:.4f}"
        moments = (str(moment)[:19] for moment in (run.first_at, run.last_at))
        runs.add_row(Text(str(run.run_id)), str(run.replies), cost, *moments)
    console = Console()
    console.print(models)
    console.print(runs)


def print_verification(found: Verification) -> None:
    """What was checked, what is wrong, and what to do."""
    if not found.findings:
        _say(f"{found.path}: sound; all {found.replies} replies can be used")
        return
    _say(f"{found.path}: {found.replies} replies were read, and something is wrong")
    for each in found.findings:
        _say(f"{each.fault}: {each.rows}, first: {each.example}")
        _say(f"  {each.fault.advice}")


def print_pruning(found: Pruning) -> None:
    """Which replies are chosen."""
    if not found.replies:
        _say("no reply is chosen: nothing to delete")
        return
    table = _table("run", "replies")
    for run_id, replies in found.runs.items():
        table.add_row(Text(run_id), str(replies))
    Console().print(table)
    _say(f"{found.replies} replies, {size(found.body_bytes)}, {_usd(found.cost_usd)}")
    if found.unanswered:
        _say(
            f"{found.unanswered} questions have no reply afterwards: a run that needs one asks, "
            "and pays, again"
        )


def print_salvaged(found: Salvaged) -> None:
    """What was saved, and what is known to be lost."""
    _say(f"saved {found.replies} replies ({found.cost_usd:.4f} USD) in a new {found.path}")
    for run_id, replies in found.lost.items():
        _say(f"lost: at least {replies} of run {run_id}")
    if found.missing_pages:
        _say(f"{found.missing_pages} pages of the file are gone: what only they told is not known")
    if not found.lost and not found.missing_pages:
        _say("nothing is known to be lost")
    _say(f"the damaged file is kept: {found.kept}")
    _say("next: the same run again; it asks only for what was lost")


def size(size_bytes: int) -> str:
    """`812 bytes`, `4.1 kB`, `35.2 MB`, `1.1 GB`."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= one:
            return f"{size_bytes / one:.1f} {unit}"
    return f"{size_bytes} bytes"


def _usd(cost_usd: float | None) -> str:
    return "no list price" if cost_usd is None else f"{cost_usd:.4f} USD at list price"


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for head in others:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _say(line: str) -> None:
    Console().print(line, markup=False, highlight=False, soft_wrap=True)
