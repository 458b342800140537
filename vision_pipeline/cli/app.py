"""The process of a command: its signals, its streams, and its exit code."""

from __future__ import annotations

import atexit
import signal
import sys
from typing import NoReturn

from vision_pipeline.cli.streams import forgiving_streams
from vision_pipeline.core.errors import RunError
from vision_pipeline.wiring.signals import (
    EXIT_STOPPED,
    Interrupted,
    interrupting,
    is_interrupted,
    leaving,
    on_stop_signals,
)


def main() -> NoReturn:
    """Run a command; whatever a user can cause becomes one line on stderr and an exit code."""
    # At its very end the interpreter sets default handlers, which kill, in place of any but this.
    atexit.register(on_stop_signals, signal.SIG_IGN)
    on_stop_signals(interrupting())
    with forgiving_streams():
        try:
            code = _outcome()
            # The interpreter may take a second to end: what comes now changes no result.
            on_stop_signals(leaving(code))
        except BaseException:
            if not is_interrupted():  # libraries may make another error of an interruption
                raise
            code = _told("stopped; the same command goes on from here", EXIT_STOPPED)
    sys.exit(code)


def _outcome() -> int:
    try:
        try:
            # Only now: it takes half a second, in which signals come as well.
            from vision_pipeline.cli.commands import app

            app()
        finally:
            sys.stdout.flush()
    except Interrupted:
        raise
    except RunError as error:
        return _told(f"error: {error}", error.exit_code)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _told(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
