"""The command line: arguments in, exit codes out. Commands live in the modules beside this one."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from vision_pipeline import __version__
from vision_pipeline.cli import backfill, compact, emulator, ledger, look, retry, run, serve, setup
from vision_pipeline.core.errors import RunError

EXIT_INTERRUPTED = 3

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
retry.register(app)
backfill.register(app)
serve.register(app)
look.register(app)
compact.register(app)
ledger.register(app)
setup.register(app)
emulator.register(app)


class Interrupted(BaseException):
    """A signal came while no run was open: before its start, or after its end."""


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted


def main() -> None:
    """Run a command; whatever a user can cause becomes one line on stderr and an exit code."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, _interrupt) for number in numbers]
    try:
        app()
    except RunError as error:
        fail(error)
    except (Interrupted, KeyboardInterrupt):
        sys.stderr.write("stopped; the same command goes on from here\n")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of stdout, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(0)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def fail(error: RunError) -> None:
    """End with an error's message and its exit code."""
    sys.stderr.write(f"error: {error}\n")
    sys.exit(error.exit_code)
