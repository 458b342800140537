"""A lock of the operating system on a local folder: it dies with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import orjson
from filelock import FileLock, Timeout

from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.owner import Owner

LOCK_NAME = ".lock"
OWNER_NAME = ".owner.json"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class NoLocksError(Exception):
    """The file system has no locks, as some network mounts."""


class ProcessLock:
    """Holds `.lock` in a folder, and says in `.owner.json` who does.

    The second file is for people and for messages: nobody decides by it, so that one left behind by
    a killed process keeps nobody out.

    Args:
        folder: It must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._owner_file = folder / OWNER_NAME
        # Several threads of one process may take turns at holding it, and a server that hands out
        # locks without keeping them is told from one that does.
        self._lock = FileLock(
            folder / LOCK_NAME, thread_local=False, blocking=False, fallback_to_soft=False
        )

    def try_take(self, owner: Owner) -> Owner | None:
        """Take the lock; returns None, or else who has it.

        Raises:
            NoLocksError: Nothing in the folder can be locked.
            OutputError: The lock file cannot be opened.
        """
        try:
            self._lock.acquire()
        except Timeout:
            return self._holder(owner)
        except NotImplementedError as error:
            raise NoLocksError from error
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise NoLocksError from error
            raise OutputError(f"{self._lock.lock_file}: cannot be locked: {error}") from error
        self.tell(owner)
        return None

    def tell(self, owner: Owner) -> None:
        """Say who holds the folder, and what for."""
        # A full disk keeps nobody from finishing what needs no room.
        with contextlib.suppress(OSError):
            self._owner_file.write_bytes(orjson.dumps(owner.to_dict(), option=orjson.OPT_INDENT_2))

    def release(self) -> None:
        """Let others have the folder."""
        with contextlib.suppress(OSError):
            self._owner_file.unlink(missing_ok=True)
        self._lock.release()

    def _holder(self, asking: Owner) -> Owner:
        try:
            return Owner.from_dict(orjson.loads(self._owner_file.read_bytes()))
        except (OSError, ValueError):
            # Taken this very moment: its owner has not said yet who it is.
            return Owner(host=asking.host, pid=0, work="another command", since=asking.since)
