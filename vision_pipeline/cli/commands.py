"""All commands in one application; each lives in a module beside this one."""

from __future__ import annotations

from typing import Annotated

import typer

from vision_pipeline import __version__
from vision_pipeline.cli import (
    backfill,
    batch,
    compact,
    diff,
    emulator,
    evaluate,
    ledger,
    look,
    plan,
    report,
    retry,
    run,
    serve,
    setup,
    tune,
)

app = typer.Typer(
    name="vision-pipeline",
    help="A folder or manifest of images and a prompt in, a typed Parquet table with one row per "
    "image out. Start with `vision-pipeline init DIR`.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (typer passes it so)
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """A folder or manifest of images and a prompt in, a typed Parquet table out."""


run.register(app)
plan.register(app)
retry.register(app)
backfill.register(app)
batch.register(app)
serve.register(app)
look.register(app)
report.register(app)
evaluate.register(app)
tune.register(app)
diff.register(app)
compact.register(app)
ledger.register(app)
setup.register(app)
emulator.register(app)
