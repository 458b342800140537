"""The command line: arguments in, exit codes out. Commands live in the modules beside this one."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from vision_pipeline import __version__
from vision_pipeline.cli import backfill, compact, emulator, ledger, look, retry, run, serve, setup
from vision_pipeline.cli.streams import forgiving_streams
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


def main() -> NoReturn:
    """Run a command; whatever a user can cause becomes one line on stderr and an exit code."""
    # At its very end the interpreter sets default handlers, which kill, in place of any but this.
    atexit.register(_on_signals, signal.SIG_IGN)
    _on_signals(_interrupt)
    with forgiving_streams():
        try:
            code = _outcome()
        except (Interrupted, KeyboardInterrupt):
            _on_signals(_leaving(EXIT_INTERRUPTED))
            code = _told("stopped; the same command goes on from here", EXIT_INTERRUPTED)
        # The interpreter may take a second to end: what comes now changes no result.
        _on_signals(_leaving(code))
    sys.exit(code)


def _outcome() -> int:
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except RunError as error:
        return _told(f"error: {error}", error.exit_code)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _told(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


def _on_signals(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _leaving(code: int) -> Callable[[int, FrameType | None], NoReturn]:
    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        os._exit(code)

    return leave
