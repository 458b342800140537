"""Backfills: what one is told to do; a reparse opened without a source, a key or an endpoint."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time

from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.history import History
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError, OutputError
from vision_pipeline.pipeline.chunks import WHOLE
from vision_pipeline.pipeline.stored import ReparseServices
from vision_pipeline.wiring.holding import holding
from vision_pipeline.wiring.ledgers import open_ledger
from vision_pipeline.wiring.library import load_catalogue, load_template
from vision_pipeline.wiring.services import Wish, build_question
from vision_pipeline.wiring.watch import current_watch


def check_wish(wish: Wish, *, reparse: bool) -> None:
    """See that a backfill is told what to do, and only that.

    Raises:
        ConfigError: It is not.
    """
    chunks = wish.chunks
    if reparse:
        if wish.fresh or not wish.selection.is_all or chunks != WHOLE:
            raise ConfigError(
                "backfill: a reparse goes through all stored replies, without a call: it takes no "
                "selection, no chunks and no `fresh`"
            )
    elif wish.selection.is_all:
        raise ConfigError(
            "backfill: say which items: by time (since, until), by place (slice), by what an "
            "earlier prompt or model answered (prompt, model), or by error (code); or reparse, "
            "which reads the stored replies under the schema of now. About all of a source asks "
            "`vision-pipeline run`"
        )
    if chunks.items is not None and chunks.items < 1:
        raise ConfigError(f"backfill: chunks of {chunks.items} items: allowed is at least 1")
    if not 0 <= chunks.pause_s < math.inf:
        raise ConfigError(f"backfill: a pause of {chunks.pause_s} s: allowed is 0 or more")
    if chunks.pause_s and chunks.items is None:
        raise ConfigError("backfill: a pause lies between chunks: say how many items one has")


@asynccontextmanager
async def open_reparse(config: RunConfig, *, wait: bool) -> AsyncIterator[ReparseServices]:
    """Open everything that a reparse needs, and close it afterwards.

    Args:
        config: The recipe; of its source nothing is read.
        wait: Wait until no other command holds the output, instead of refusing.

    Raises:
        BusyError: Another command holds the output.
        RunError: Something that the user can mend; nothing was written.
    """
    template = load_template(config.prompt)
    # A model may be retired by now, or need a key that is lost: nobody is asked.
    spec = load_catalogue().find(config.model.name)
    folder = OutputFolder(config.output.path)
    results = ResultStore(folder)
    if not results.run_ids():
        raise OutputError(f"output.path: {config.output.path}: no runs here to read replies of")
    folder.check_writable()
    watch = current_watch()
    with watch.signals(watch.stop):
        work = f"reparse of {config.name}"
        async with holding(folder, watch, work=work, wait=wait) as announce:
            folder.sweep(now_s=time())
            ledger = open_ledger(config, folder)
            try:
                yield ReparseServices(
                    config=config,
                    question=build_question(config, template, spec),
                    price=spec.price if spec else None,
                    ledger=ledger,
                    results=results,
                    history=History(results),
                    progress=watch.progress,
                    stop=watch.stop,
                    announce=announce,
                    tell=lambda found: watch.say(found.told()),
                )
            finally:
                ledger.close()
