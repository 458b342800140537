"""Which items of a source a run works on."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.pipeline.fingerprints import FINGERPRINT, fingerprints
from vision_pipeline.pipeline.selecting import Selector
from vision_pipeline.pipeline.services import Services
from vision_pipeline.pipeline.settled import Settled


class Choice:
    """Picks items, batch by batch: those selected that are not settled, or all that failed so.

    Args:
        services: What is wanted, and earlier rows.
        schema: Of the source's batches.

    Raises:
        ConfigError: The selection does not fit the source or the earlier runs.
    """

    def __init__(self, services: Services, schema: pa.Schema) -> None:
        self._selector = Selector(
            services.selection, services.history, schema, is_whole=services.limit is None
        )
        outcomes = None
        if not (services.fresh or services.selection.codes):
            outcomes = services.history.settled(
                services.question.sha256, abilities=services.abilities
            )
        self._settled = Settled(outcomes, services.is_changed)
        self._progress = services.progress

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The items of a batch that need work, with their fingerprints."""
        chosen = self._selector.of(batch)
        prints = fingerprints(chosen)
        answered, failed = self._settled.masks(chosen["images"], prints)
        self._progress.already_answered += pc.sum(answered).as_py() or 0
        self._progress.already_failed += pc.sum(failed).as_py() or 0
        is_work = pc.invert(pc.or_(answered, failed))
        return chosen.append_column(FINGERPRINT, prints).filter(is_work)

    def skipped(self) -> dict[str, int]:
        """What of the source is not meant, by reason; whole after the last batch."""
        return self._selector.skipped()
