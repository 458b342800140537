"""The commands that look and change nothing: `plan`, `status` and `runs`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from vision_pipeline.cli.arguments import (
    ConfigArgument,
    JsonOption,
    LimitOption,
    OutputArgument,
    OutputOption,
    SetOption,
    SourceOption,
    load_config,
    print_json,
)

if TYPE_CHECKING:
    from rich.table import Table

    from vision_pipeline.core.config import RunConfig
    from vision_pipeline.pipeline.estimate import Estimate
    from vision_pipeline.results.runs import RunStatus
    from vision_pipeline.wiring.services import Wish

PLAN_EPILOG = """
Examples:

    vision-pipeline plan configs/receipts.yaml

    vision-pipeline plan configs/receipts.yaml --source scans/ --json
"""
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
    app.command("plan", epilog=PLAN_EPILOG)(_plan)
    app.command("status", epilog=STATUS_EPILOG)(_status)
    app.command("runs", epilog=RUNS_EPILOG)(_runs)


def _plan(
    config: ConfigArgument,
    source: SourceOption = None,
    output: OutputOption = None,
    limit: LimitOption = None,
    settings: SetOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Count what `run` would ask, without a call.

    Every pending image is read and prepared, so image tokens are exact and unreadable files known.
    """
    loaded = load_config(config, source=source, output=output, limit=limit, settings=settings)
    from vision_pipeline.wiring.services import AS_USUAL

    plan_ahead(loaded, AS_USUAL, as_json=as_json)


def plan_ahead(config: RunConfig, wish: Wish, *, as_json: bool) -> None:
    """Count what would be asked, and tell it."""
    from vision_pipeline.cli.display import Display
    from vision_pipeline.cli.engines import watched
    from vision_pipeline.wiring.watch import Watch, stop_on_signals

    with Display(config.name) as display:
        watch = Watch(display.progress, display.stop, stop_on_signals)
        found = watched(lambda: _estimate(config, wish), watch)
    if as_json:
        print_json(found.to_dict())
    else:
        what = "in the source" if wish.selection.is_all else "selected"
        _print_plan(config, found, of=what)


async def _estimate(config: RunConfig, wish: Wish) -> Estimate:
    from vision_pipeline.pipeline.estimate import estimate
    from vision_pipeline.wiring.services import open_services

    async with open_services(config, wish, asks=False) as services:
        return await estimate(services)


def _rule(config: RunConfig) -> str:
    """How image tokens are counted."""
    from vision_pipeline.wiring.library import load_catalogue

    if load_catalogue().find(config.model.name) is not None:
        return "exact"
    return f"by the default rule; {config.model.name} is not in models.yaml"


def _print_plan(config: RunConfig, found: Estimate, *, of: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for number, what in (
        (found.items, f"items {of}"),
        (found.already_answered, "answered before, left alone"),
        (found.already_failed, "failed before for good, left alone"),
        (found.from_ledger, "answered from the ledger, without a call"),
        (found.duplicates, "ask the same as another item, asked once"),
        (found.errors.total(), "error rows without a call"),
        (found.to_ask, "calls"),
        (found.image_tokens, f"image tokens, {_rule(config)}"),
        (found.text_tokens, "text tokens, estimated"),
        (found.input_usd, "USD for these input tokens at list price; answers cost extra"),
        (found.sent_bytes, "bytes of images to send"),
    ):
        if number is not None:
            shown = f"{number:,.4f}" if isinstance(number, float) else f"{number:,}"
            table.add_row(shown, what)
    console = Console()
    console.print(f"[bold]{config.name}[/bold]: {config.model.name}, prompt {config.prompt}")
    console.print(table)
    if found.errors:
        from vision_pipeline.cli.display import error_table

        console.print(error_table(dict(found.errors), found.examples))
    for why, number in found.skipped.items():
        console.print(f"passed over in the source: {number} {why}", markup=False)


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
    table.add_column("run", no_wrap=True, min_width=21)  # an id is there to be copied
    for head in ("items", "ok", "errors", "calls", "USD"):
        table.add_column(head, justify="right")
    table.add_column("state")
    for run in runs:
        table.add_row(*run.cells())
        table.add_row(Text(run.question, style="dim"))
        if run.times:
            table.add_row(Text(run.times, style="dim"))
    return table
