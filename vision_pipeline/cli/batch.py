"""The commands `batch …`: the steps of a run by the provider's Batch API, one at a time."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision_pipeline.cli.arguments import (
    ConfigArgument,
    JsonOption,
    LimitOption,
    OutputOption,
    SetOption,
    SourceOption,
    load_config,
    print_json,
)
from vision_pipeline.cli.logs import LogFormatOption
from vision_pipeline.cli.run import (
    Engine,
    EngineOption,
    FreshOption,
    MaxCostOption,
    MaxTokensOption,
    Mode,
    say,
    with_wishes,
    work_through,
)
from vision_pipeline.core.errors import WaitingError, jobs_told

if TYPE_CHECKING:
    from rich.table import Table

    from vision_pipeline.core.config import RunConfig
    from vision_pipeline.wiring.batches import JobStatus

SUBMIT_EPILOG = """
Examples:

    vision-pipeline batch submit configs/receipts.yaml

    vision-pipeline batch submit configs/receipts.yaml --source scans/ --max-cost 20
"""
STATUS_EPILOG = """
Examples:

    vision-pipeline batch status configs/receipts.yaml

    vision-pipeline batch status configs/receipts.yaml --json
"""
COLLECT_EPILOG = """
Examples:

    vision-pipeline batch collect configs/receipts.yaml

    vision-pipeline batch collect configs/receipts.yaml --wait

    vision-pipeline batch collect configs/receipts.yaml --set batch.stragglers=realtime
"""
CANCEL_EPILOG = """
Example:

    vision-pipeline batch cancel configs/receipts.yaml
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    batch = typer.Typer(
        help="Ask by the provider's Batch API step by step; `run --mode batch` takes all steps.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    batch.command("submit", epilog=SUBMIT_EPILOG)(_submit)
    batch.command("status", epilog=STATUS_EPILOG)(_status)
    batch.command("collect", epilog=COLLECT_EPILOG)(_collect)
    batch.command("cancel", epilog=CANCEL_EPILOG)(_cancel)
    app.add_typer(batch, name="batch")


def _submit(
    config: ConfigArgument,
    source: SourceOption = None,
    output: OutputOption = None,
    limit: LimitOption = None,
    settings: SetOption = None,
    engine: EngineOption = Engine.AUTO,
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
    log_format: LogFormatOption = None,
    *,
    fresh: FreshOption = False,
    as_json: JsonOption = False,
) -> None:
    """Hand everything that is to be asked to the provider, and wait for nothing.

    Exit codes: 0 all is with the provider, or answered already; else those of `run`.
    """
    from vision_pipeline.wiring.services import Wish

    loaded = _load(config, source, output, limit, settings, max_cost, max_tokens)
    wish = Wish(fresh=fresh, patience_s=0)
    try:
        work_through(loaded, engine, wish, as_json=as_json, log_format=log_format)
    except WaitingError as waiting:
        if as_json:
            print_json({"run_id": waiting.run_id, **waiting.counts})
        else:
            told = jobs_told(waiting.counts)
            given = shlex.join(each for each in sys.argv[3:] if each != "--json")
            say(f"{loaded.name}: {told}; collect with `vision-pipeline batch collect {given}`")


def _collect(
    config: ConfigArgument,
    source: SourceOption = None,
    output: OutputOption = None,
    limit: LimitOption = None,
    settings: SetOption = None,
    engine: EngineOption = Engine.AUTO,
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
    log_format: LogFormatOption = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all jobs are done.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Where the run was submitted with --fresh.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take what the provider has answered, and write the table once all is there.

    Options have to be those of `batch submit`. Nothing new of the source is asked; what the jobs
    left unanswered is, as batch.stragglers says.
    Exit codes: those of `run`; 3 as long as jobs are under way.
    """
    from vision_pipeline.wiring.services import Wish

    loaded = _load(config, source, output, limit, settings, max_cost, max_tokens)
    wish = Wish(fresh=fresh, begins=False, patience_s=None if wait else 0)
    work_through(loaded, engine, wish, as_json=as_json, log_format=log_format)


def _status(
    config: ConfigArgument,
    output: OutputOption = None,
    settings: SetOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show the batch jobs of runs that are not finished, as the provider tells of them."""
    import asyncio

    from vision_pipeline.wiring.batches import job_statuses

    loaded = _load(config, None, output, None, settings)
    jobs = asyncio.run(job_statuses(loaded))
    if as_json:
        print_json([job.to_dict() for job in jobs])
        return
    from rich.console import Console

    console = Console()
    if not jobs:
        console.print(f"{loaded.name}: no batch job is under way")
        return
    console.print(_table(jobs))


def _table(jobs: list[JobStatus]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("run", "job", "state"):
        table.add_column(name, overflow="fold")
    for name in ("requests", "done", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for job in jobs:
        counts = (job.requests, job.completed, job.failed)
        table.add_row(job.run_id, job.job_id or "-", job.state, *(f"{each:,}" for each in counts))
    return table


def _cancel(
    config: ConfigArgument,
    output: OutputOption = None,
    settings: SetOption = None,
) -> None:
    """Have the provider end the jobs, and keep what they have answered by then.

    The runs stay unfinished: `run` asks for the rest at once, `run --mode batch` in new jobs.
    """
    from vision_pipeline.cli.display import Display
    from vision_pipeline.cli.engines import cancel_local

    loaded = _load(config, None, output, None, settings)
    with Display(loaded.name) as display:
        ended = cancel_local(loaded, progress=display.progress, stop=display.stop)
    noun = "job has" if ended == 1 else "jobs have"
    told = f"{ended:,} batch {noun} ended, and what they answered is kept"
    say(f"{loaded.name}: {told if ended else 'no batch job was under way'}")


def _load(
    config: Path,
    source: str | None,
    output: str | None,
    limit: int | None,
    settings: list[str] | None,
    max_cost: float | None = None,
    max_tokens: int | None = None,
) -> RunConfig:
    wishes = with_wishes(settings, max_cost=max_cost, max_tokens=max_tokens, mode=Mode.BATCH)
    return load_config(config, source=source, output=output, limit=limit, settings=wishes)
