"""A lock object in a store without locks: its owner beats, and one that is silent is taken over."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.owner import Owner

OBJECT_NAME = ".lock.json"
FIRST_BEAT_S = 1.0
BEAT_S = 15.0
SILENT_S = 60.0  # four beats: a slow store or a long pause of the machine is no death


class Folder(Protocol):
    """What the lock needs of the output folder."""

    @property
    def filesystem(self) -> Any:  # noqa: ANN401, D102
        ...
    def path(self, name: str) -> str: ...  # noqa: D102


def _utc_now() -> datetime:
    return datetime.now(UTC)


class HeartbeatLock:
    """Holds `.lock.json` in a folder of any file system.

    Where the store can create an object only if it is not there (S3, GCS, memory), two commands
    cannot both take it. Elsewhere two that saw it free in the same second may; the first beat, a
    second later, finds out who wrote last, and the other one is told that it has lost.

    Args:
        folder: Where.
        now: UTC. Clocks of two machines may differ: an owner that seems silent is watched for
            longer than a beat before it is taken over.
        pause: Waits some seconds.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        now: Callable[[], datetime] = _utc_now,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._folder = folder
        self._now = now
        self._ended = threading.Event()
        self._pause = pause or self._ended.wait
        self._mine: Owner | None = None
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    def try_take(self, owner: Owner) -> Owner | None:
        """Take the lock; returns None, or else who has it.

        Blocks for more than a beat where the owner seems dead.

        Raises:
            OutputError: The store cannot be read or written.
        """
        try:
            found = self._read()
            if found is not None and not self._is_silent(found):
                return found
            mine = replace(owner, beat_at=self._now())
            faster = self._written(mine, mode="create" if found is None else "overwrite")
        except Exception as error:  # each backend has its own
            raise OutputError(
                f"{self._folder.path(OBJECT_NAME)}: cannot be locked: {error}"
            ) from error
        self._mine = None if faster else mine
        return faster

    def _written(self, mine: Owner, *, mode: str) -> Owner | None:
        """Write the object; returns who was faster, as far as the store tells."""
        try:
            self._write(mine, mode=mode)
        except FileExistsError:
            return self._read() or replace(mine, work="another command")
        except Exception:
            # Stores say in their own ways that the object is there: what is there tells.
            found = self._read() if mode == "create" else None
            if found is None:
                raise
            return None if found.mark == mine.mark else found
        return None

    def keep(self, lost: Callable[[Owner], None]) -> None:
        """Beat from now on, in a thread.

        Args:
            lost: Called once, from that thread, with who has taken the lock over: that happens
                where this machine paused for so long that it seemed dead.
        """

        def beat() -> None:
            wait_s = FIRST_BEAT_S
            while not self._ended.wait(wait_s):
                if (taker := self.beat()) is not None:
                    lost(taker)
                    return
                wait_s = BEAT_S

        self._thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        self._thread.start()

    def beat(self) -> Owner | None:
        """Give a sign of life; returns who has taken the lock over, or None while it is held.

        A store that is away for the moment says nothing about that.
        """
        with self._turn, contextlib.suppress(Exception):
            found = self._read()
            if self._mine is None or (found is not None and found.mark != self._mine.mark):
                return found
            self._mine = replace(self._mine, beat_at=self._now())
            self._write(self._mine, mode="create" if found is None else "overwrite")
        return None

    def tell(self, owner: Owner) -> None:
        """Say what the folder is held for; an owner that has lost it says nothing."""
        with self._turn:
            if self._mine is not None:
                self._mine = replace(self._mine, work=owner.work, run_id=owner.run_id)
        self.beat()

    def release(self) -> None:
        """Let others have the folder."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(Exception):  # it falls silent, and is taken over
            found = self._read()
            if self._mine is not None and found is not None and found.mark == self._mine.mark:
                self._folder.filesystem.rm_file(self._folder.path(OBJECT_NAME))
        self._mine = None

    def _is_silent(self, owner: Owner) -> bool:
        if owner.age_s(self._now()) < SILENT_S:
            return False
        self._pause(BEAT_S * 1.5)
        found = self._read()
        return found is None or found == owner

    def _read(self) -> Owner | None:
        path = self._folder.path(OBJECT_NAME)
        self._folder.filesystem.invalidate_cache()
        try:
            content = self._folder.filesystem.cat_file(path)
        except FileNotFoundError:
            return None
        try:
            return Owner.from_dict(orjson.loads(content))
        except ValueError as error:
            raise ValueError(f"it is no lock of this program ({error}); remove it") from error

    def _write(self, owner: Owner, *, mode: str) -> None:
        path = self._folder.path(OBJECT_NAME)
        content = orjson.dumps(owner.to_dict(), option=orjson.OPT_INDENT_2)
        file_system = self._folder.filesystem
        try:
            file_system.pipe_file(path, content, mode=mode)
        except TypeError:  # a backend that knows no mode
            file_system.pipe_file(path, content)
