"""The command `run`: the whole job, watched."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vision_pipeline.cli.arguments import (
    ConfigArgument,
    JsonOption,
    LimitOption,
    OutputOption,
    SetOption,
    SourceOption,
    WaitOption,
    load_config,
    print_json,
)
from vision_pipeline.cli.logs import Log, LogFormat, LogFormatOption
from vision_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from vision_pipeline.core.config import RunConfig
    from vision_pipeline.wiring.services import Wish

EPILOG = """
Examples:

    vision-pipeline run configs/demo.yaml

    vision-pipeline run configs/receipts.yaml --source scans/ --output out/ --limit 20

    vision-pipeline run configs/receipts.yaml --set model.name=ministral-3b-2512 --max-cost 5

    vision-pipeline run configs/receipts.yaml --mode batch
"""


class Engine(StrEnum):
    """What drives the run."""

    AUTO = "auto"
    LOCAL = "local"
    PREFECT = "prefect"


EngineOption = Annotated[
    Engine,
    typer.Option(
        help="prefect: as a flow of Prefect; local: the same without Prefect's start; "
        "auto: prefect where a server is set, else local."
    ),
]


class Mode(StrEnum):
    """How the provider is asked."""

    REALTIME = "realtime"
    BATCH = "batch"


ModeOption = Annotated[
    Mode | None,
    typer.Option(
        help="realtime: ask at once; batch: by the provider's Batch API, cheaper and within a day, "
        "over restarts; same as execution.mode."
    ),
]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Ask everything again, also what was answered before.")
]
MaxCostOption = Annotated[
    float | None,
    typer.Option(metavar="USD", help="Stop before this is exceeded; same as budget.usd."),
]

MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="The same in tokens, all requests together; same as budget.tokens."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog=EPILOG)(_run)


def _run(
    config: ConfigArgument,
    source: SourceOption = None,
    output: OutputOption = None,
    limit: LimitOption = None,
    settings: SetOption = None,
    engine: EngineOption = Engine.AUTO,
    mode: ModeOption = None,
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
    log_format: LogFormatOption = None,
    *,
    fresh: FreshOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask one question about every image, and write a typed table.

    A run that was cut off is finished by the same command, on the images that were there when it
    began. After that the same command asks about new and changed images, and once more where an
    error may pass; all others are left alone. Ctrl-C lets the requests on the wire finish, since
    they are paid for; a second Ctrl-C does not.
    Exit codes: 0 every item has an answer; 1 some rows are errors; 2 bad usage or config;
    3 stopped early, resumable, or another command holds the output.
    """
    overrides = with_wishes(settings, max_cost=max_cost, max_tokens=max_tokens, mode=mode)
    loaded = load_config(config, source=source, output=output, limit=limit, settings=overrides)
    from vision_pipeline.wiring.services import Wish

    wish = Wish(fresh=fresh, wait=wait)
    work_through(loaded, engine, wish, as_json=as_json, log_format=log_format)


def with_wishes(
    settings: list[str] | None,
    *,
    max_cost: float | None = None,
    max_tokens: int | None = None,
    mode: Mode | None = None,
) -> list[str]:
    """Settings, and options that are short for some of them."""
    if max_cost is not None and not max_cost > 0:
        raise ConfigError(f"--max-cost {max_cost:g}: allowed: a number above 0")
    wishes = {"budget.usd": max_cost, "budget.tokens": max_tokens, "execution.mode": mode}
    return [
        *(settings or []),
        *(f"{key}={value}" for key, value in wishes.items() if value is not None),
    ]


def say(found: str) -> None:
    """Show a person what a command has found out before it works."""
    print(found, file=sys.stderr)


def is_by_prefect(engine: Engine) -> bool:
    """Whether Prefect drives a run, by its own choice or since a server is set."""
    from vision_pipeline.cli.servers import server_url

    return engine is Engine.PREFECT or (engine is Engine.AUTO and bool(server_url(os.environ)))


def work_through(
    config: RunConfig,
    engine: Engine,
    wish: Wish,
    *,
    as_json: bool,
    log_format: LogFormat | None = None,
) -> NoReturn:
    """Do the job, watched, tell what became of it, and end the process with its exit code."""
    # Heavy imports come after what can go wrong without them.
    from vision_pipeline.cli.display import Display, print_summary
    from vision_pipeline.cli.engines import run_local, run_prefect
    from vision_pipeline.pipeline.services import tell_nobody

    with Log(log_format) if log_format else Display(config.name) as display:
        run = run_prefect if is_by_prefect(engine) else run_local
        summary = run(
            config,
            wish,
            progress=display.progress,
            stop=display.stop,
            say=tell_nobody if log_format else say,
        )
    if as_json:
        print_json(summary.to_dict())
    else:
        print_summary(config, summary)
    sys.exit(summary.exit_code)
