"""The flow `backfill`: some items of a source, or stored replies; a task per shard, a summary."""

from prefect import flow

from flows.asking import asked
from flows.shards import as_tasks, completed, ended, flow_run_name, performed
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import RunError
from vision_pipeline.core.selection import ALL, Selection
from vision_pipeline.pipeline.chunks import Chunks
from vision_pipeline.pipeline.reparse import reparse_shard
from vision_pipeline.pipeline.stored import reparse as carry_out
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.wiring.backfilling import check_wish, open_reparse
from vision_pipeline.wiring.services import Wish


@flow(name="backfill", flow_run_name=flow_run_name, persist_result=False)
async def backfill(  # noqa: PLR0913  (the form of a deployment)
    config: RunConfig,
    *,
    select: Selection = ALL,
    fresh: bool = False,
    chunk_items: int | None = None,
    pause_s: float = 0.0,
    reparse: bool = False,
    wait: bool = False,
) -> Summary:
    """Ask about some items of a source, or read stored replies again under a changed schema.

    Args:
        config: Which images, which question, which model, where the table goes.
        select: Which items: by time, by place, by what an earlier prompt or model answered, by
            error code; each narrows it.
        fresh: Ask again also about those that have an answer to this question.
        chunk_items: Work on so many at a time.
        pause_s: Seconds between a chunk and the next.
        reparse: Read all stored replies under the schema of now, without a call; nothing is
            selected then, and the source is not read.
        wait: Wait for another command that holds the output, instead of refusing.
    """
    wish = Wish(fresh, select, Chunks(chunk_items, pause_s), wait)

    async def read_again() -> Summary:
        async with open_reparse(config, wait=wait) as services:
            return await carry_out(services, as_tasks(reparse_shard))

    try:
        check_wish(wish, reparse=reparse)
        if not reparse:
            return await asked(config, wish)  # type: ignore[return-value]
        return completed(await performed(config, read_again))  # type: ignore[return-value]
    except RunError as error:
        return ended(error)  # type: ignore[return-value]
