"""Signals that stop a command, and what they do while no run is open."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

EXIT_STOPPED = 3

Handler = Callable[[int, FrameType | None], Any]


class Interrupted(SystemExit):  # of this kind, which asyncio lets pass
    """A signal came while no run was open: before its start, or after its end."""


def stop_signals() -> list[signal.Signals]:
    """Ctrl-C, `kill`, and a terminal that closes, unless `nohup` makes the command ignore that."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        numbers.append(hangup)
    return numbers


def on_stop_signals(handler: Handler | signal.Handlers) -> None:
    """Set what the signals do from now on."""
    for number in stop_signals():
        signal.signal(number, handler)


@contextlib.contextmanager
def handling_stop_signals(handler: Handler) -> Iterator[None]:
    """Set what the signals do while the block runs."""
    before = {number: signal.getsignal(number) for number in stop_signals()}
    on_stop_signals(handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


_came: list[int] = []


def interrupting() -> Handler:
    """A handler for as long as no run is open: it raises `Interrupted`.

    Another signal then ends the process at once.
    """
    _came.clear()

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        _came.append(number)
        on_stop_signals(leaving(EXIT_STOPPED))
        raise Interrupted(EXIT_STOPPED)

    return interrupt


def is_interrupted() -> bool:
    """Whether a signal came while no run was open.

    What its handler raised may be lost: Python ignores what is raised in finalizers and in
    callbacks of weak references, such as those of its import locks, and libraries make other
    errors of it.
    """
    return bool(_came)


def leaving(code: int) -> Handler:
    """A handler that ends the process at once, with this exit code."""

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        os._exit(code)

    return leave
