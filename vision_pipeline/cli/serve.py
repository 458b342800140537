"""The command `serve`: a recipe on a schedule, from this process."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from vision_pipeline.cli.arguments import (
    ConfigArgument,
    OutputOption,
    SetOption,
    SourceOption,
    load_config,
)
from vision_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from prefect.schedules import Schedule

EPILOG = """
Examples:

    vision-pipeline serve configs/receipts.yaml --cron "0 3 * * *" --timezone Europe/Paris

    vision-pipeline serve configs/receipts.yaml --interval 15m
"""
NO_SERVER = """\
no Prefect server is set; in another terminal:
    prefect server start
and in this one:
    export PREFECT_API_URL=http://127.0.0.1:4200/api"""
_INTERVAL = re.compile(r"(\d+)\s*([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", epilog=EPILOG)(_serve)


def _serve(
    config: ConfigArgument,
    cron: Annotated[
        str | None, typer.Option(metavar="CRON", help='When, such as "0 3 * * *".')
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Or how often: 90s, 15m, 6h, 1d."),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Of --cron, such as Europe/Paris; UTC if left out."),
    ] = None,
    source: SourceOption = None,
    output: OutputOption = None,
    settings: SetOption = None,
) -> None:
    """Run a recipe on a schedule, from this process, until it is stopped. Needs a Prefect server.

    Each run asks for what is new or changed only. One run at a time: the next one waits.
    For several machines, or runs that outlive a terminal, see prefect.yaml.
    """
    loaded = load_config(config, source=source, output=output, settings=settings)
    schedule = _schedule(cron, interval, timezone)
    from vision_pipeline.cli.servers import check_server, server_url

    url = server_url(os.environ)
    if url is None:
        raise ConfigError(NO_SERVER)
    check_server(url)
    from flows.deployments import serve

    told = f"--cron {cron!r} {timezone or 'UTC'}" if cron else f"every {interval}"
    print(f"analyze_images/{loaded.name}, {told}, on {url}; Ctrl-C ends it", flush=True)
    # Ctrl-C ends an event loop cleanly only where Python's own handler is set.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    serve(loaded, schedule)


def _schedule(cron: str | None, interval: str | None, timezone: str | None) -> Schedule:
    # Of the flows' package, which holds settings that Prefect reads when it is imported.
    from flows.deployments import at_times, every

    if (cron is None) == (interval is None):
        raise ConfigError("serve: give either --cron or --interval")
    if cron is not None:
        return at_times(cron, timezone or "UTC")
    if timezone is not None:
        raise ConfigError("--timezone: goes with --cron; an interval is the same in every zone")
    return every(_seconds(str(interval)))


def _seconds(text: str) -> int:
    found = _INTERVAL.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise ConfigError(f"--interval {text!r}: expected such as 90s, 15m, 6h or 1d")
    return int(found[1]) * _SECONDS[found[2]]
