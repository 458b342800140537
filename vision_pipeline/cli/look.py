"""The commands that look at an output folder: `status` and `runs`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from vision_pipeline.cli.arguments import (
    JsonOption,
    OutputArgument,
    print_json,
)

if TYPE_CHECKING:
    from rich.table import Table

    from vision_pipeline.results.runs import RunStatus

STATUS_EPILOG = """
Examples:

    vision-pipeline status data/outputs/demo

    vision-pipeline status data/outputs/demo --json
"""

RUNS_EPILOG = """
Examples:

    vision-pipeline runs data/outputs/demo

    vision-pipeline runs data/outputs/demo --json
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status", epilog=STATUS_EPILOG)(_status)
    app.command("runs", epilog=RUNS_EPILOG)(_runs)


def _status(
    output: OutputArgument,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show rows by status and error code, tokens, cost and runs of an output folder."""
    from vision_pipeline.results.status import read_status
    from vision_pipeline.wiring.waiting import waiting_replies

    status = read_status(output)
    waiting = waiting_replies(output, [run.run_id for run in status.runs if not run.finished])
    if as_json:
        print_json(status.to_dict() | {"waiting": waiting.to_dict()})
        return
    from rich.console import Console

    from vision_pipeline.cli.display import count, error_table

    console = Console()
    console.print(
        f"{status.items} items: {status.ok} answered, {status.failed} errors (latest row of each)",
        highlight=False,
    )
    if status.errors:
        console.print(error_table(status.errors))
    console.print(
        f"all runs: {status.rows} rows, {count(status.prompt_tokens)} + "
        f"{count(status.completion_tokens)} tokens, {_cost(status.cost_usd)}",
        highlight=False,
    )
    if waiting.replies:
        console.print(
            f"paid for, and in no row yet: {waiting.replies} replies, {_cost(waiting.cost_usd)}; "
            "the same command makes rows of them",
            highlight=False,
        )
    if waiting.problem:
        console.print(
            f"paid for, and in no row yet: unknown: {waiting.problem}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    console.print(_run_table(status.runs))


def _cost(usd: float | None) -> str:
    return "no list price" if usd is None else f"{usd:.4f} USD"


def _runs(output: OutputArgument, *, as_json: JsonOption = False) -> None:
    """List the runs of an output folder: when, how many items, what they cost, what was asked.

    Counts are of each run's own rows; calls are the replies that they paid for.
    """
    from vision_pipeline.results.runs import read_runs

    runs = read_runs(output)
    if as_json:
        print_json([asdict(run) for run in runs])
        return
    from rich.console import Console

    Console().print(_run_table(runs))


def _run_table(runs: list[RunStatus]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    # An id, which is there to be copied, stays in a line; what was asked has as many as it needs.
    table.add_column("run", min_width=21)
    for head in ("items", "ok", "errors", "calls", "USD"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for run in runs:
        table.add_row(*run.cells())
        table.add_row(Text(run.question, style="dim"))
        if run.times:
            table.add_row(Text(run.times, style="dim"))
    return table
