"""The command `backfill`: earlier runs gone through again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vision_pipeline.cli.arguments import (
    ConfigArgument,
    JsonOption,
    OutputOption,
    SetOption,
    WaitOption,
    load_config,
    print_json,
)
from vision_pipeline.cli.logs import Log, LogFormatOption
from vision_pipeline.cli.run import Engine, EngineOption, is_by_prefect

if TYPE_CHECKING:
    from vision_pipeline.core.config import RunConfig
    from vision_pipeline.pipeline.run import Summary

EPILOG = """
Example: in the prompt's schema a total has become a number, or a category is new.

    vision-pipeline backfill configs/receipts.yaml --reparse

    vision-pipeline run configs/receipts.yaml
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("backfill", epilog=EPILOG)(_backfill)


def _backfill(
    config: ConfigArgument,
    output: OutputOption = None,
    settings: SetOption = None,
    engine: EngineOption = Engine.AUTO,
    log_format: LogFormatOption = None,
    *,
    reparse: Annotated[
        bool,
        typer.Option("--reparse", help="Required: read stored replies under the schema of now."),
    ] = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Apply a changed answer schema to stored replies, without a call, a key or an image.

    Taken are the replies to the same question: the text and system message of the prompt, model,
    decoding, server and image settings have to be what they were, and only the schema may differ.
    Each item gets a new row. If its reply fits, that is an answer, which the next `run` leaves
    alone; keys that the schema has no more are dropped. If not, because a key is missing or a value
    is no longer allowed, it is an error, and the next `run` asks about the item anew. Errors before
    any reply go along. Older rows and replies stay.

    The same command finishes a reparse that was cut off. Exit codes are those of `run`.
    """
    from vision_pipeline.wiring.backfilling import check_wish

    check_wish(reparse=reparse)
    loaded = load_config(config, output=output, settings=settings)
    from vision_pipeline.cli.display import Display
    from vision_pipeline.cli.engines import reparse_local, reparse_prefect

    with Log(log_format) if log_format else Display(loaded.name) as display:
        job = reparse_prefect if is_by_prefect(engine) else reparse_local
        summary = job(
            loaded,
            wait=wait,
            progress=display.progress,
            stop=display.stop,
            say=_say_nothing if log_format else _say,
        )
    if as_json:
        print_json(summary.to_dict())
    else:
        _print(loaded, summary)
    sys.exit(summary.exit_code)


def _say(found: str) -> None:
    print(found, file=sys.stderr)


def _say_nothing(_found: str) -> None:
    """The log has it."""


def _print(config: RunConfig, summary: Summary) -> None:
    from vision_pipeline.cli.display import duration, print_outcome

    done = f"{summary.ok} stored replies fit, {summary.failed} errors, {summary.calls} calls"
    if summary.resumed:
        done += ", a reparse that was cut off is finished"
    notes = []
    if summary.errors:
        notes.append("the next `vision-pipeline run` asks about these")
    if summary.already_answered or summary.already_failed:
        before = f"{summary.already_answered} answered, {summary.already_failed} errors"
        notes.append(f"left alone, read under this schema before: {before}")
    print_outcome(config.name, summary, done, time=duration(summary.seconds), notes=notes)
