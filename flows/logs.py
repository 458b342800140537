"""What the pipeline logs goes to Prefect as well: per run and per shard, never per image."""

import logging

from vision_pipeline.pipeline import backfill, run, shard


def ship_logs() -> None:
    """Give the loggers of runs, shards and quotas Prefect's own handlers and level.

    That is what its setting of extra loggers does; here it needs none, in whatever process.
    """
    configured = logging.getLogger("prefect.extra")
    for logger in (run.log, shard.log, backfill.log, logging.getLogger("vision_pipeline.quota")):
        if logger.getEffectiveLevel() > configured.level:
            logger.setLevel(configured.level)
        for handler in configured.handlers:
            if handler not in logger.handlers:
                logger.addHandler(handler)
