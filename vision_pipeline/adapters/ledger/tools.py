"""What can be done with a ledger besides running on it, wherever it is kept."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from vision_pipeline.adapters.ledger import inspection, pruning, verification
from vision_pipeline.adapters.ledger.damage import look
from vision_pipeline.adapters.ledger.inspection import Inspection
from vision_pipeline.adapters.ledger.opening import reading
from vision_pipeline.adapters.ledger.pruning import Choice, Pruning
from vision_pipeline.adapters.ledger.rows import LedgerRow, Payment, sound_rows
from vision_pipeline.adapters.ledger.verification import Verification
from vision_pipeline.core.errors import OutputError


class LedgerTools(Protocol):
    """Looks into one ledger; all methods raise OutputError where there is none, or it fails."""

    def inspect(self) -> Inspection:
        """Count what it holds."""

    def payments(self, runs: Collection[str]) -> list[Payment]:
        """Who paid for the replies of some runs."""

    def verify(self, *, now: datetime) -> Verification:
        """Check every reply, and the place that keeps them as far as that can be done from here."""

    def replies(self) -> AbstractContextManager[Iterator[LedgerRow]]:
        """All replies in their order, one at a time."""

    def preview(self, choice: Choice) -> Pruning:
        """What `prune` would delete; changes nothing."""

    def prune(self, choice: Choice) -> Pruning:
        """Delete replies in one transaction."""

    def vacuum(self) -> str | None:
        """Let their room be used again; returns why that was not possible."""

    def size_bytes(self) -> int:
        """How much room it takes."""

    def probe(self) -> str:
        """Whether it can be used, in a few words for a person; makes nothing."""


@dataclass(frozen=True, slots=True)
class FileTools:
    """`LedgerTools` for a file of SQLite."""

    path: Path

    def inspect(self) -> Inspection:
        """As in `LedgerTools`."""
        return inspection.inspect(self.path)

    def payments(self, runs: Collection[str]) -> list[Payment]:
        """As in `LedgerTools`."""
        return inspection.payments(self.path, runs)

    def verify(self, *, now: datetime) -> Verification:
        """As in `LedgerTools`."""
        return verification.verify(self.path, now=now)

    @contextmanager
    def replies(self) -> Iterator[Iterator[LedgerRow]]:
        """As in `LedgerTools`."""
        with reading(self.path) as connection:
            yield sound_rows(connection)

    def preview(self, choice: Choice) -> Pruning:
        """As in `LedgerTools`."""
        return pruning.preview(self.path, choice)

    def prune(self, choice: Choice) -> Pruning:
        """As in `LedgerTools`."""
        return pruning.prune(self.path, choice)

    def vacuum(self) -> str | None:
        """As in `LedgerTools`; the file shrinks."""
        return pruning.vacuum(self.path)

    def size_bytes(self) -> int:
        """As in `LedgerTools`, with the file's log."""
        return pruning.disk_bytes(self.path)

    def probe(self) -> str:
        """As in `LedgerTools`."""
        look(self.path)
        place = self.path
        while not place.exists() and place != place.parent:
            place = place.parent
        if not os.access(place, os.W_OK) or (place != self.path and not place.is_dir()):
            raise OutputError(f"{self.path}: cannot be written")
        if not self.path.exists():
            return "a file on this machine; the first reply makes it"
        return f"a file on this machine, {self.size_bytes():,} bytes"
