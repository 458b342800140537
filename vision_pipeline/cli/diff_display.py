"""A comparison of two runs on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vision_pipeline.cli.figures import in_line, say, share, usd
from vision_pipeline.core.forecast import Interval
from vision_pipeline.core.plain_text import plain
from vision_pipeline.results.evaluation.changes import Difference, Gain, Side

_MOST_CHANCE = 0.05


def show_difference(difference: Difference, most: int) -> None:
    """Print it: the sides, agreement by field, changed cells, errors and gains.

    Args:
        difference: What was found.
        most: Changed cells of each field, and errors, to print.
    """
    console = Console()
    for line in head_lines(difference):
        say(console, line)
    for line in side_lines(difference):
        say(console, line)
    _agreement(console, difference)
    _cells(console, difference, most)
    for line in gain_lines(difference):
        say(console, line)


def head_lines(difference: Difference) -> list[str]:
    """How much is compared."""
    lines = [
        f"{difference.items} items in both, {difference.answered_in_both} answered in both; "
        f"{difference.changed} cells changed, {len(difference.errors_gained)} errors gained, "
        f"{len(difference.errors_lost)} lost"
    ]
    if difference.other_images:
        lines.append(f"{difference.other_images} items have another image than before")
    for where, names in (("before", difference.only_before), ("after", difference.only_after)):
        if names:
            lines.append(f"fields only {where}: {', '.join(names)}")
    return lines


def gain_lines(difference: Difference) -> list[str]:
    """What became of accuracy, a line a field."""
    return [_gain(each) for each in difference.gains]


def _gain(gain: Gain) -> str:
    verdict = "may be chance" if gain.chance > _MOST_CHANCE else "more than chance"
    return (
        f"{gain.field}: right {gain.right_before} before, {gain.right_after} after of {gain.rows} "
        f"({gain.gained} gained, {gain.lost} lost): {points(gain.gain)}, {verdict} "
        f"(p = {gain.chance:.2g})"
    )


def points(gain: Interval) -> str:
    """A gain of a share with its bounds, in percentage points."""
    return f"{100 * gain.likely:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


def side_lines(difference: Difference) -> list[str]:
    """Who was asked what, at which cost and in which time, and how that changed."""
    before, after = difference.before, difference.after
    lines = [_side("before", before), _side("after", after)]
    changes = []
    if before.cost_usd is not None and after.cost_usd is not None:
        changes.append(f"cost {after.cost_usd - before.cost_usd:+.4f} USD")
    if before.median_latency_s is not None and after.median_latency_s is not None:
        changes.append(f"latency {after.median_latency_s - before.median_latency_s:+.2f} s")
    return [*lines, *([f"change: {', '.join(changes)}"] if changes else [])]


def _side(name: str, side: Side) -> str:
    cost = "no list price" if side.cost_usd is None else f"{usd(side.cost_usd)} USD"
    ledger = f" ({side.from_ledger} from the ledger)" if side.from_ledger else ""
    latency = "" if side.median_latency_s is None else f", {side.median_latency_s:.2f} s a request"
    return (
        f"{name}: {side.output}, {side.label}: {side.asked}; {side.errors} errors, "
        f"{cost}{ledger}{latency}"
    )


def _agreement(console: Console, difference: Difference) -> None:
    table = Table(box=None, pad_edge=False)
    for head in ("field", "changed", "same [95 %]"):
        table.add_column(head, justify="left" if head == "field" else "right")
    for each in difference.fields:
        table.add_row(Text(plain(each.field)), str(len(each.changed)), share(each.agreement))
    console.print(table)


def _cells(console: Console, difference: Difference, most: int) -> None:
    found = [(each.field, one) for each in difference.fields for one in each.changed[:most]]
    cells = [
        (name, each.item_id, in_line(each.before), in_line(each.after)) for name, each in found
    ]
    cells += [
        ("error", each.item_id, each.before or "(answered)", each.after or "(answered)")
        for each in difference.errors[:most]
    ]
    if cells:
        table = Table(box=None, pad_edge=False)
        for head in ("field", "item", "before", "after"):
            table.add_column(head, overflow="fold")
        for row in cells:
            table.add_row(*(Text(plain(cell)) for cell in row))
        console.print(table)
    left = difference.changed + len(difference.errors) - len(cells)
    if left:
        say(console, f"and {left} more: --show N, --json or --html FILE")
