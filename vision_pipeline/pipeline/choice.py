"""Which items of a source a run works on."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.pipeline.fingerprints import FINGERPRINT, fingerprints
from vision_pipeline.pipeline.services import Services
from vision_pipeline.pipeline.settled import Settled


class Choice(Protocol):
    """Picks items, batch by batch."""

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The items of a batch that need work, with their fingerprints."""

    def skipped(self) -> dict[str, int]:
        """What the source does not have, by reason; whole after the last batch."""


def choice_of(services: Services) -> Choice:
    """All items that are not settled or, for a retry, those that failed."""
    return _Failed(services) if services.retry else _Unsettled(services)


class _Unsettled:
    def __init__(self, services: Services) -> None:
        outcomes = None
        if not services.fresh:
            outcomes = services.results.settled(
                services.question.sha256, abilities=services.abilities
            )
        self._settled = Settled(outcomes, services.is_changed)
        self._progress = services.progress

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        prints = fingerprints(batch)
        answered, failed = self._settled.masks(batch["images"], prints)
        self._progress.already_answered += pc.sum(answered).as_py() or 0
        self._progress.already_failed += pc.sum(failed).as_py() or 0
        is_work = pc.invert(pc.or_(answered, failed))
        return batch.append_column(FINGERPRINT, prints).filter(is_work)

    def skipped(self) -> dict[str, int]:
        return {}


class _Failed:
    def __init__(self, services: Services) -> None:
        self._item_ids = services.results.failed(services.retry)
        self._left = len(self._item_ids)

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        work = batch.filter(pc.is_in(batch["item_id"], self._item_ids))
        self._left -= work.num_rows
        return work.append_column(FINGERPRINT, fingerprints(work))

    def skipped(self) -> dict[str, int]:
        return {"failed_and_not_in_the_source": self._left}
