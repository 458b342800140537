"""The command `backfill`: some items of a source asked about, or stored replies read again."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vision_pipeline.cli.arguments import (
    ConfigArgument,
    JsonOption,
    OutputOption,
    SetOption,
    SourceOption,
    WaitOption,
    load_config,
    print_json,
)
from vision_pipeline.cli.logs import Log, LogFormat, LogFormatOption
from vision_pipeline.cli.run import (
    Engine,
    EngineOption,
    MaxCostOption,
    MaxTokensOption,
    is_by_prefect,
    say,
    with_wishes,
    work_through,
)
from vision_pipeline.core.errors import ConfigError, ErrorCode

if TYPE_CHECKING:
    from vision_pipeline.core.config import RunConfig
    from vision_pipeline.core.selection import Selection
    from vision_pipeline.pipeline.summary import Summary

EPILOG = """
Examples:

    vision-pipeline backfill configs/receipts.yaml --since 2026-10-01 --until 2026-11-01 --dry-run

    vision-pipeline backfill configs/receipts.yaml --prompt receipt_fields@1 --chunk 5000 --pause 60

    vision-pipeline backfill configs/receipts.yaml --code invalid_answer --max-cost 5

    vision-pipeline backfill configs/receipts.yaml --reparse
"""
# Where a part of a selection comes from, for messages.
_OPTIONS = {"start": "--slice", "stop": "--slice", "codes": "--code"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("backfill", epilog=EPILOG)(_backfill)


def _backfill(
    config: ConfigArgument,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only images changed at this time or later, in UTC."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only images changed before this time.")
    ] = None,
    date_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The manifest column with the time, not the file's."),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            "--slice", metavar="START:STOP", help="Only these places in the source, from 0 on."
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[@VERSION]", help="Only items whose latest answer is by this prompt."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only items whose latest answer is by this model."),
    ] = None,
    code: Annotated[
        list[ErrorCode] | None,
        typer.Option(help="Only items whose latest row is this error; may be repeated."),
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Work on N items at a time.")
    ] = None,
    pause: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Rest between a chunk and the next.")
    ] = 0.0,
    source: SourceOption = None,
    output: OutputOption = None,
    settings: SetOption = None,
    engine: EngineOption = Engine.AUTO,
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
    log_format: LogFormatOption = None,
    *,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask again also where this question was answered.")
    ] = False,
    reparse: Annotated[
        bool,
        typer.Option("--reparse", help="Read all stored replies under the prompt's schema of now."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be asked, without a call.")
    ] = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask about some items of a source: by time, place, earlier answer or error.

    What is given together narrows the choice. Times are such as 2026-11-01 or
    2026-11-01T08:00+01:00; --until and STOP are the first ones left out. Items that have an answer
    to the recipe's question of now are left alone, and with --code asked again, as by `retry`. It
    tells what it will ask about before it asks; Ctrl-C stops it, and the same command goes on.

    With --reparse it applies a changed answer schema to the stored replies to the same question
    instead, without a call, a key or an image: text, model and settings have to be what they were,
    and only the schema may differ. Replies that fit are answers, which the next `run` leaves alone;
    where one does not fit, the next `run` asks anew.

    Exit codes are those of `run`.
    """
    from vision_pipeline.pipeline.chunks import Chunks
    from vision_pipeline.wiring.backfilling import check_wish
    from vision_pipeline.wiring.services import Wish

    parts = {
        "since": since,
        "until": until,
        "date_column": date_column,
        "prompt": prompt,
        "model": model,
        "codes": code,
        **_places(place),
    }
    selection = _selection({key: value for key, value in parts.items() if value is not None})
    wish = Wish(fresh, selection, Chunks(chunk, pause), wait)
    check_wish(wish, reparse=reparse)
    overrides = with_wishes(settings, max_cost=max_cost, max_tokens=max_tokens)
    loaded = load_config(config, source=source, output=output, settings=overrides)
    if reparse:
        if dry_run:
            raise ConfigError("backfill: --reparse makes no call: it needs no --dry-run")
        _reparse(loaded, engine, as_json=as_json, log_format=log_format, wait=wait)
    if dry_run:
        from vision_pipeline.cli.plan import plan_ahead

        plan_ahead(loaded, wish, as_json=as_json)
    else:
        work_through(loaded, engine, wish, as_json=as_json, log_format=log_format)


def _places(text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    found = re.fullmatch(r"(\d*):(\d*)", text)
    if found is None or text == ":":
        raise ConfigError(f"--slice {text}: expected START:STOP, such as 1000:2000, 1000: or :2000")
    return {key: each for key, each in zip(("start", "stop"), found.groups(), strict=True) if each}


def _selection(parts: dict[str, object]) -> Selection:
    from pydantic import ValidationError

    from vision_pipeline.core.selection import Selection

    try:
        return Selection.model_validate(parts)
    except ValidationError as error:
        raise ConfigError("\n".join(map(_explained, error.errors()))) from None


def _explained(fault: Mapping[str, Any]) -> str:
    """A fault of a part of a selection, in the words of the command line."""
    from vision_pipeline.core.config_faults import explain
    from vision_pipeline.core.selection import Selection

    told = explain(fault, root=Selection)
    if not fault["loc"]:
        return f"backfill: {told}"
    key = str(fault["loc"][0])
    option = _OPTIONS.get(key, "--" + key.replace("_", "-"))
    return f"{option}: {told.removeprefix(f'{key}: ')}"


def _reparse(
    config: RunConfig, engine: Engine, *, as_json: bool, log_format: LogFormat | None, wait: bool
) -> NoReturn:
    from vision_pipeline.cli.display import Display
    from vision_pipeline.cli.engines import reparse_local, reparse_prefect
    from vision_pipeline.pipeline.services import tell_nobody

    with Log(log_format) if log_format else Display(config.name) as display:
        job = reparse_prefect if is_by_prefect(engine) else reparse_local
        summary = job(
            config,
            wait=wait,
            progress=display.progress,
            stop=display.stop,
            say=tell_nobody if log_format else say,
        )
    if as_json:
        print_json(summary.to_dict())
    else:
        _print(config, summary)
    sys.exit(summary.exit_code)


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
