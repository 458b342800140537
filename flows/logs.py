"""What the pipeline logs goes to Prefect as well: per run and per shard, never per image."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from vision_pipeline.pipeline import run, shard, stored


@contextmanager
def shipped_logs() -> Iterator[None]:
    """Within the block, a flow run, the loggers of runs, shards and quotas are Prefect's as well.

    That is what its setting of extra loggers does; here no process needs it, and what is logged
    outside a flow run stays where it was.
    """
    with ExitStack() as stack:
        for logger in (
            run.log,
            shard.log,
            stored.log,
            logging.getLogger("vision_pipeline.quota"),
        ):
            _lend(logger, logging.getLogger("prefect.extra"), stack)
        yield


def _lend(logger: logging.Logger, configured: logging.Logger, stack: ExitStack) -> None:
    stack.callback(logger.setLevel, logger.level)
    if logger.getEffectiveLevel() > configured.level:
        logger.setLevel(configured.level)
    for handler in configured.handlers:
        if handler not in logger.handlers:  # of another flow run in this process
            logger.addHandler(handler)
            stack.callback(logger.removeHandler, handler)
