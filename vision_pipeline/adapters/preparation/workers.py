"""A few worker processes that outlive the tasks they do, and are replaced when they die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from queue import Empty, LifoQueue
from typing import IO, Any, BinaryIO, cast

import orjson

from vision_pipeline.adapters.preparation.frames import NO_MEMORY, read_frame, write_frame
from vision_pipeline.core.errors import ErrorCode, ItemError, RunError, StoppedError
from vision_pipeline.core.image_settings import ImageSettings

_ATTEMPTS = 2  # a process can die of something else than its image
_KILLS = 6  # by the system or somebody; where memory is short, several in a row hit the same image
_STARTS = 3  # so may one that starts, as where the system is short of memory for a moment
_START_S = 120.0  # of a process, on a busy machine
_SIGALRM = getattr(signal, "SIGALRM", signal.SIGTERM)  # Windows has none
_OVERDUE = 1000  # stands for the exit code of a worker that the run itself had to kill
_BY_LIMIT = frozenset({-_SIGALRM, NO_MEMORY})  # another attempt would end alike
_PIPE_BYTES = 1024 * 1024  # what Linux lets anybody have; a photo then needs a few switches
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux, which Python 3.11 names on Linux alone

# Blocks of 16 MB that Pillow keeps between images: getting their pages anew from the system each
# time costs 15 to 50 ms of a 10-megapixel image.
# NumPy, which only carries pixels here, would set aside 40 MB for a second thread of its algebra.
_TUNING = {"PILLOW_BLOCKS_MAX": "4", "OPENBLAS_NUM_THREADS": "1"}

# A decoder that is taken over by a hostile file finds no key in its environment.
_PASSED_ON = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "VIRTUAL_ENV"}
)


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What a worker may take for one image.

    Attributes:
        max_s: Wall time, by the worker's own alarm.
        grace_s: How much longer the run waits for a worker that its alarm does not reach, as where
            it was stopped.
        max_bytes: Memory, besides what the process needs for itself.
    """

    max_s: float = 30.0
    max_bytes: int = 2 * 1024**3
    grace_s: float = 15.0


class Workers:
    """At most `count` processes, started when they are needed; thread-safe.

    Args:
        settings: For every image.
        limits: What a worker may take.
        count: At least 1.
        command: What starts a worker, before its two arguments.
    """

    def __init__(
        self,
        settings: ImageSettings,
        limits: WorkerLimits,
        *,
        count: int,
        command: tuple[str, ...] = ("-m", "vision_pipeline.adapters.preparation.worker"),
    ) -> None:
        self._limits = limits
        arguments = [orjson.dumps(asdict(each)).decode() for each in (settings, limits)]
        self._command = [sys.executable, *command, *arguments]
        self._places: LifoQueue[_Worker | None] = LifoQueue()
        for _ in range(count):
            self._places.put(None)
        self._lock = threading.Lock()
        self._running: set[_Worker] = set()
        self._is_closed = False

    def call(self, head: dict[str, Any], source: bytes) -> tuple[dict[str, Any], bytes]:
        """Have one task done; waits for a free worker, and blocks until it is done.

        Raises:
            ItemError: What the task raises; `unreadable_image` where the worker crashed on it
                twice, `timeout` where somebody kept killing it, `image_too_large` where it took
                longer than `max_s` or more than `max_bytes`.
            StoppedError: The workers were closed.
            RunError: No worker can be started, or one has a bug.
        """
        kills = exit_code = 0
        for _ in range(_ATTEMPTS):
            reply, exit_code = self._attempt(head, source)
            while exit_code == -signal.SIGKILL and kills < _KILLS:
                kills += 1  # by no fault of the image, so that it uses up no attempt
                reply, exit_code = self._attempt(head, source)
            if reply is not None:
                return _checked(reply)
            if exit_code in _BY_LIMIT:
                break
        raise self._failed(exit_code)

    def close(self) -> None:
        """End all workers at once; calls in progress raise `StoppedError`."""
        with self._lock:
            self._is_closed = True
            for worker in self._running:
                worker.kill()
        idle = []
        with suppress(Empty):
            while True:
                idle.append(self._places.get_nowait())
        for place in idle:
            if place is not None:
                place.end()
            self._places.put(None)  # whoever waits for one learns that there is none any more

    def _attempt(
        self, head: dict[str, Any], source: bytes
    ) -> tuple[tuple[dict[str, Any], bytes] | None, int]:
        worker = self._places.get()
        reply = None
        try:
            worker = worker or self._start()
            reply = worker.exchange(head, source, self._limits.max_s + self._limits.grace_s)
        finally:
            self._give_back(worker if reply is not None else None)
        if reply is not None:
            return reply, 0
        exit_code = worker.end()
        with self._lock:
            self._running.discard(worker)
            if self._is_closed:
                raise StoppedError("the run is ending")
        return None, exit_code

    def _give_back(self, worker: _Worker | None) -> None:
        with self._lock:
            is_closed = self._is_closed
            self._places.put(None if is_closed else worker)
        if worker is not None and is_closed:  # after `close` took leave of those that had no task
            worker.end()

    def _failed(self, exit_code: int) -> ItemError:
        if exit_code == NO_MEMORY:
            most = self._limits.max_bytes
            detail = f"it takes more memory than image.max_decode_bytes ({most}) allows; raise it"
            return ItemError(ErrorCode.IMAGE_TOO_LARGE, detail)
        if exit_code in {-_SIGALRM, _OVERDUE}:
            detail = f"decoding took longer than image.max_decode_s ({self._limits.max_s:g} s)"
            return ItemError(ErrorCode.IMAGE_TOO_LARGE, detail)
        return _crashed(exit_code)

    def _start(self) -> _Worker:
        complaint: str | None = ""
        for _ in range(_STARTS):
            with self._lock:
                if self._is_closed:
                    raise StoppedError("the run is ending")
                worker = _Worker(self._command)
                self._running.add(worker)
            complaint = worker.greet()
            if complaint is None:
                return worker
            with self._lock:
                self._running.discard(worker)
                if self._is_closed:
                    raise StoppedError("the run is ending")
        raise RunError(f"no process for decoding images can be started: {complaint}")


class _Worker:
    def __init__(self, command: list[str]) -> None:
        # A file, not a pipe: nobody reads it before the end.
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `end`)
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=_environment(),
            start_new_session=True,  # Ctrl-C goes to the whole group of a terminal
        )
        self._tasks = cast("BinaryIO", self._process.stdin)
        self._replies = cast("BinaryIO", self._process.stdout)
        self._is_overdue = False
        _widen(self._tasks, self._replies)

    def greet(self) -> str | None:
        """Wait until it is ready; why it is not, or None."""
        with self._deadline(_START_S):
            greeting = read_frame(self._replies)
        if greeting is not None:
            return None
        self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        self.end()
        return lines[-1] if lines else _told(self._process.returncode)

    def exchange(
        self, head: dict[str, Any], source: bytes, within_s: float
    ) -> tuple[dict[str, Any], bytes] | None:
        """The reply to a task, or None where the process died of it or was killed for its delay."""
        try:
            with self._deadline(within_s):
                write_frame(self._tasks, head, source)
                return read_frame(self._replies)
        except (OSError, ValueError):  # ValueError: closed by another thread
            return None

    @contextmanager
    def _deadline(self, within_s: float) -> Iterator[None]:
        """Kill the process after this time: its pipes, on which this thread waits, then end."""
        timer = threading.Timer(within_s, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._is_overdue = True
        self.kill()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def end(self) -> int:
        """Take leave of a process that ended or is about to; its exit code, or `_OVERDUE`."""
        self._process.kill()
        code = self._process.wait()
        for stream in (self._replies, self._complaints):
            stream.close()
        with suppress(OSError):  # the rest of a task that nobody read
            self._tasks.close()
        return _OVERDUE if self._is_overdue else code


def _checked(reply: tuple[dict[str, Any], bytes]) -> tuple[dict[str, Any], bytes]:
    head, _ = reply
    if "bug" in head:
        raise RunError(f"preparing an image failed, which is a fault of the program: {head['bug']}")
    if "error" in head:
        raise ItemError(ErrorCode(head["error"]), head["detail"])
    return reply


def _crashed(exit_code: int) -> ItemError:
    if exit_code == -signal.SIGKILL:
        # Not what the image says, but the system: the next run tries it again.
        detail = (
            f"its decoder was killed from outside (SIGKILL), {_ATTEMPTS + _KILLS} times: is the "
            "system short of memory? Lower image.max_decode_bytes, and run again"
        )
        return ItemError(ErrorCode.TIMEOUT, detail)
    detail = f"the decoder crashed ({_told(exit_code)})"
    if exit_code == -signal.SIGABRT:  # how C++ and Rust end where an allocation fails
        detail += "; for a large image, image.max_decode_bytes may be too little"
    return ItemError(ErrorCode.UNREADABLE_IMAGE, detail)


def _told(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    return signal.Signals(-exit_code).name


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name.upper() in _PASSED_ON}
    return kept | _TUNING | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _widen(*pipes: BinaryIO) -> None:
    if sys.platform != "linux":
        return
    import fcntl  # noqa: PLC0415  (not on Windows)

    for pipe in pipes:
        try:
            fcntl.fcntl(pipe.fileno(), _SET_PIPE_SIZE, _PIPE_BYTES)
        except OSError:  # the user's share of pipe memory is used up
            return
