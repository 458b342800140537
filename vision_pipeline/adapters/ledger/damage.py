"""What tells a damaged ledger, and what is said of one. Changes nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from vision_pipeline.adapters.ledger.header import HEADER_BYTES, read_header
from vision_pipeline.adapters.ledger.schema import SCHEMA_VERSION, read_version
from vision_pipeline.adapters.ledger.wal import Log, read_log, size_bytes, wal_path
from vision_pipeline.core.errors import OutputError

BUSY_TIMEOUT_S = 60.0  # another process may hold the file for one group commit at a time

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DAMAGED_IO = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
# A power failure in the middle of a commit may leave its frames damaged, and its end whole.
_UNSYNCED_COMMITS = 1
_LOCK_BYTE = 1 << 30  # SQLite keeps nothing on the page at this offset


class DamageError(OutputError):
    """The ledger is damaged; `cause` is what tells it."""

    def __init__(self, path: Path, cause: object) -> None:
        super().__init__(damaged(path, cause))
        self.cause = str(cause)


class BrokenRowError(Exception):
    """A row whose values are none that a ledger writes."""


def damaged(path: Path, cause: object) -> str:
    """The message for a damaged ledger: what is wrong, and what to do."""
    return (
        f"{path}: the ledger is damaged: {cause}; it was left as it is. "
        f"`vision-pipeline ledger salvage {path}` saves every reply that can still be read; "
        "then the same command goes on"
    )


def failed(path: Path, cause: object) -> str:
    """The message for a ledger that SQLite cannot use although nothing says that it is damaged."""
    return f"{path}: cannot be used as a ledger: {cause}; it was left as it is"


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file's content is wrong, and not a disk, lock or statement."""
    if isinstance(error, BrokenRowError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF in _DAMAGE or code in _DAMAGED_IO)


def as_output_error(path: Path, error: Exception) -> OutputError:
    """What SQLite complains of, with the file and what to do."""
    return DamageError(path, error) if is_damage(error) else OutputError(failed(path, error))


def look(path: Path) -> None:
    """Look at the start and the size of a file before anything may write to it.

    That costs a millisecond whatever the size, and 0.1 ms for each page in the log that a kill left
    behind; pages overwritten in the middle are found by `verify`, or by whoever reads them.

    Raises:
        DamageError: The first page is wrong, the file is shorter than its last commit, the log is
            damaged, or only the log is there.
        OutputError: It is no ledger, or of a newer format.
    """
    if not size_bytes(path):
        # SQLite would take the file for a new one, and delete the log with its replies.
        if size_bytes(wal_path(path)):
            raise DamageError(path, f"it is empty or gone, and {wal_path(path).name} is there")
        return
    causes: list[str] = []
    # Read-only: closing the last connection that may write would carry the log into the file.
    with contextlib.suppress(sqlite3.OperationalError), _transaction(path) as connection:
        try:
            read_version(connection, path, newest=SCHEMA_VERSION)
            causes = _causes(connection, path)
        except sqlite3.Error as error:
            if is_damage(error):
                raise DamageError(path, _cut(path) or error) from error
            raise  # locked, or begun and not finished: opening it will tell
    if causes:
        raise DamageError(path, " and ".join(causes))


@contextlib.contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()


def _causes(connection: sqlite3.Connection, path: Path) -> list[str]:
    log = read_log(path)
    causes = []
    if log and log.hidden_commits > _UNSYNCED_COMMITS:
        name = wal_path(path).name
        causes.append(f"{name} is damaged, with {log.hidden_commits} commits behind the damage")
    if lost := _missing_pages(connection, path, log):
        causes.append(f"it is cut off: {lost} pages at its end are missing")
    return causes


def _cut(path: Path) -> str:
    """What is missing of a file by its own header, or "" where that does not say."""
    with path.open("rb") as file:
        header = read_header(file.read(HEADER_BYTES))
    there = size_bytes(path)
    if header is None or there >= header.file_bytes:
        return ""
    return f"it is cut off: {there:,} of {header.file_bytes:,} bytes are there"


def _missing_pages(connection: sqlite3.Connection, path: Path, log: Log | None) -> int:
    """How many pages are neither in the file nor in its log.

    While this transaction is open nobody begins the log anew, so that a page is in one of the two.
    """
    page_size = connection.execute("PRAGMA page_size").fetchone()[0]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    there = size_bytes(path) // page_size
    if there >= pages:
        return 0
    unneeded = {_LOCK_BYTE // page_size + 1, *(log.pages if log else ())}
    return sum(page not in unneeded for page in range(there + 1, pages + 1))
