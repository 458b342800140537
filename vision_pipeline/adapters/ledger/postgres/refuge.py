"""A local file for paid replies while their database is away."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pybase64

from vision_pipeline.adapters.ledger.postgres.replies import Record
from vision_pipeline.core.databases import Database
from vision_pipeline.core.errors import OutputError


class Refuge:
    """Keeps replies on this machine until their database has them.

    Files of processes that have ended are found by the next run on this machine that uses the same
    URL. A reply may be taken up twice: its receipt makes it one.

    Args:
        folder: Made when it is needed.
        database: Whose replies.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._prefix = hashlib.sha256(database.url.encode()).hexdigest()[:16]
        self.path = folder / f"{self._prefix}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"

    def add(self, records: Sequence[Record]) -> None:
        """Append replies; they are on the disk when this returns.

        Raises:
            OSError: The disk is full, or the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        opener = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(opener, "ab") as file:
            file.writelines(map(_line, records))
            file.flush()
            os.fsync(file.fileno())

    def files(self) -> list[Path]:
        """This one's, those of processes that ended, and those of others that wait just now."""
        return sorted(self._folder.glob(f"{self._prefix}-*.jsonl"))


def read_records(path: Path) -> Iterator[Record]:
    """The replies in a file; a last line that was cut off was never said to be kept.

    Raises:
        OutputError: A line is damaged.
    """
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            return
        try:
            yield _record(orjson.loads(line))
        except (ValueError, TypeError, LookupError) as error:
            raise OutputError(
                f"{path}: line {number} is no reply ({error}); the file keeps replies that were "
                "paid for and are not in the database yet: mend it, or move it away to do "
                "without them"
            ) from error


def _line(record: Record) -> bytes:
    values = record._asdict() | {
        "key": record.key.hex(),
        "body": pybase64.b64encode(record.body).decode(),
    }
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def _record(values: dict[str, Any]) -> Record:
    return Record(
        **values
        | {
            "receipt": UUID(values["receipt"]),
            "key": bytes.fromhex(values["key"]),
            "body": pybase64.b64decode(values["body"], validate=True),
            "answered_at": datetime.fromisoformat(values["answered_at"]),
        }
    )
