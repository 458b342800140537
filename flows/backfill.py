"""The flow `backfill`: earlier runs gone through again, one task per shard, a summary."""

from prefect import flow

from flows.shards import as_tasks, completed, ended, flow_run_name, performed
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import RunError
from vision_pipeline.pipeline.backfill import reparse as carry_out
from vision_pipeline.pipeline.reparse import reparse_shard
from vision_pipeline.pipeline.run import Summary
from vision_pipeline.wiring.backfilling import check_wish, open_reparse


@flow(name="backfill", flow_run_name=flow_run_name, persist_result=False)
async def backfill(config: RunConfig, *, reparse: bool = False, wait: bool = False) -> Summary:
    """Read the stored replies of earlier runs under the schema of now, without a call.

    Args:
        config: Which question, and where the table and the replies are; the source is not read.
        reparse: Has to be true: it is all that a backfill can do.
        wait: Wait for another command that holds the output, instead of refusing.
    """

    async def job() -> Summary:
        check_wish(reparse=reparse)
        async with open_reparse(config, wait=wait) as services:
            return await carry_out(services, as_tasks(reparse_shard))

    try:
        return completed(await performed(config, job))  # type: ignore[return-value]
    except RunError as error:
        return ended(error)  # type: ignore[return-value]
