"""The command `retry`: once more about what failed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_pipeline.cli.arguments import (
    JsonOption,
    SetOption,
    SourceOption,
    WaitOption,
    load_config,
    parse,
)
from vision_pipeline.cli.logs import LogFormatOption
from vision_pipeline.cli.run import (
    Engine,
    EngineOption,
    MaxCostOption,
    MaxTokensOption,
    with_wishes,
    work_through,
)
from vision_pipeline.core.errors import ErrorCode

EPILOG = """
Examples:

    vision-pipeline retry data/outputs/receipts

    vision-pipeline retry data/outputs/receipts --code timeout --code invalid_answer

    vision-pipeline retry configs/receipts.yaml --code truncated_answer --set model.max_tokens=4000
"""
RECIPE_SUFFIXES = (".yaml", ".yml")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("retry", epilog=EPILOG)(_retry)


def _retry(
    target: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT|CONFIG",
            help="An output folder, for the recipe of its latest run; or a recipe.",
        ),
    ],
    code: Annotated[
        list[ErrorCode] | None,
        typer.Option(help="Only errors of this code; may be repeated. Default: all."),
    ] = None,
    source: SourceOption = None,
    settings: SetOption = None,
    engine: EngineOption = Engine.AUTO,
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
    log_format: LogFormatOption = None,
    *,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask again about the items whose latest row is an error, also a permanent one.

    `run` by itself asks again only where an error may pass, such as a timeout; this command asks
    about every code, or about those of `--code`. Other items are neither read nor asked. A stored
    reply is used where it gives an answer by now; where it brings the error back, the model is
    asked anew. The same command finishes a retry that was cut off. Exit codes are those of `run`.
    """
    overrides = with_wishes(settings, max_cost=max_cost, max_tokens=max_tokens)
    if target.lower().endswith(RECIPE_SUFFIXES):
        config = load_config(Path(target), source=source, settings=overrides)
    else:
        from vision_pipeline.wiring.recipes import latest_recipe

        file, recipe = latest_recipe(target)
        config = parse(recipe, file=file, source=source, output=target, settings=overrides)
    from vision_pipeline.core.selection import FAILED, Selection
    from vision_pipeline.wiring.services import Wish

    wish = Wish(selection=Selection(codes=tuple(code)) if code else FAILED, wait=wait)
    work_through(config, engine, wish, as_json=as_json, log_format=log_format)
