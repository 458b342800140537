"""Room on the ledger's disk that is kept for the replies in flight when the disk fills up."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

# A reply that is committed alone writes five or six pages, and its body.
BYTES_PER_REPLY = 48 * 1024
_NOTE = (
    b"This file keeps room for paid replies that arrive when the disk is full: then "
    b"vision-pipeline deletes it. You may delete it too while no run is under way; the next one "
    b"makes it again.\n"
)

# Where the disk is full, or a quota on it, only a plain write tells it by its own code.
_FULL = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMOPEN,
    }
)


class Reserve:
    """A file beside a ledger that is worth only its room; it stays there after a run.

    Processes that share a ledger share it. Whoever meets the full disk first gives it up for all,
    and the others see by that file that the disk is full.

    Args:
        ledger: Beside which file.
        size_bytes: How much room.
    """

    def __init__(self, ledger: Path, size_bytes: int) -> None:
        self.path = ledger.with_name(f".{ledger.name}.reserve")
        self._size_bytes = size_bytes

    def keep(self, *, again: bool) -> bool:
        """Make the file if it is not there; returns whether it is there now.

        Args:
            again: It was there before: then only a disk with twice that much room gets it back, so
                that nobody takes what another process has just given up.
        """
        try:
            if self.path.exists() and self.path.stat().st_size >= self._size_bytes:
                return True
            if shutil.disk_usage(self.path.parent).free < (1 + again) * self._size_bytes:
                return False
            self._make()
        except OSError:
            return False
        return True

    def _make(self) -> None:
        try:
            with self.path.open("wb") as file:
                # Nothing that a file system would compress, or not write at all.
                file.write(_NOTE + os.urandom(self._size_bytes - len(_NOTE)))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.path.unlink(missing_ok=True)
            raise

    def give_up(self) -> None:
        """Delete the file, so that its room can be used."""
        with contextlib.suppress(OSError):
            self.path.unlink()


def is_full(error: BaseException) -> bool:
    """Whether SQLite may have failed because the disk is full."""
    return getattr(error, "sqlite_errorcode", None) in _FULL
