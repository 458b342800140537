"""The flow `analyze_images`: plan, one task per shard, a summary."""

from prefect import flow

from flows.asking import asked
from flows.shards import flow_run_name
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ErrorCode
from vision_pipeline.core.selection import Selection
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.wiring.services import Wish


@flow(name="analyze_images", flow_run_name=flow_run_name, persist_result=False)
async def analyze_images(
    config: RunConfig,
    *,
    fresh: bool = False,
    retry: list[ErrorCode] | None = None,
    wait: bool = False,
) -> Summary:
    """Ask one question about every image of a source, and write a typed table.

    Args:
        config: Which images, which question, which model, where the table goes.
        fresh: Ask everything again, also what was answered before.
        retry: Ask only about items whose latest row has one of these error codes.
        wait: Wait for another command that holds the output, instead of refusing.
    """
    wish = Wish(fresh, Selection(codes=tuple(retry or ())), wait=wait)
    return await asked(config, wish)  # type: ignore[return-value]
