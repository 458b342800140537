"""Who watches a run, whatever engine drives it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass

from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.services import tell_nobody
from vision_pipeline.pipeline.stop import Stop
from vision_pipeline.wiring.signals import handling_stop_signals, is_interrupted


def _no_signals(_stop: Stop) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Watch:
    """What is seen of a run and said to it while it is open, whatever engine drives it.

    Attributes:
        progress: The counters that the run raises.
        stop: Raised to end the run early.
        signals: While open, signals raise `stop`; entered after an engine has set its own handlers.
        grace_s: How long requests on the wire may take to finish at most once the run stops.
        say: Hears what a command finds out before it works; from any thread.
    """

    progress: Progress
    stop: Stop
    signals: Callable[[Stop], AbstractContextManager[None]] = _no_signals
    grace_s: float = math.inf
    say: Callable[[str], None] = tell_nobody


_watched: ContextVar[Watch | None] = ContextVar("watched", default=None)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Runs that are opened within the block are watched."""
    before = _watched.set(watch)
    try:
        yield
    finally:
        _watched.reset(before)


def current_watch() -> Watch:
    """Who watches here; where nobody does, counters that nobody reads."""
    return _watched.get() or Watch(Progress(), Stop())


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Within the block Ctrl-C and its like raise `stop`, in place of what they did before.

    The first one lets requests on the wire finish, for they are paid for; the second cancels the
    task that entered the block. Only a main thread hears signals; elsewhere nothing changes.
    """
    loop = asyncio.get_running_loop()
    job = asyncio.current_task()

    def on_signal() -> None:
        if stop.requested.is_set() and job is not None:
            job.cancel()
        stop.by_user()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if is_interrupted():  # by a signal before this, of which nothing else was heard
        stop.by_user()
    # Not by the loop's own handlers: while those are taken away, a signal kills.
    with handling_stop_signals(lambda _number, _frame: loop.call_soon_threadsafe(on_signal)):
        yield
