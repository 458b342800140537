"""The flow `batch_jobs`: submit, wait, collect, over as many flow runs as that takes."""

from prefect import flow

from flows.asking import asked
from flows.shards import flow_run_name
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.selection import ALL, Selection
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.wiring.services import Wish


@flow(name="batch_jobs", flow_run_name=flow_run_name, persist_result=False)
async def batch_jobs(  # noqa: PLR0913  (the form of a deployment)
    config: RunConfig,
    *,
    select: Selection = ALL,
    fresh: bool = False,
    collect_only: bool = False,
    wait_s: float | None = None,
    wait: bool = False,
) -> Summary:
    """Ask one question about every image by the provider's Batch API, for a part of the price.

    A flow run that ends before the jobs do is completed, as Waiting; the next one goes on.

    Args:
        config: Which images, which question, which model, where the table goes.
        select: Which items: by time, by place, by what an earlier prompt or model answered, by
            error code; each narrows it.
        fresh: Ask everything again, also what was answered before.
        collect_only: Begin nothing new: only go on with what was submitted.
        wait_s: Seconds to wait for the jobs in this flow run; none: as the recipe says.
        wait: Wait for another command that holds the output, instead of refusing.
    """
    execution = config.execution.model_copy(update={"mode": "batch"})
    recipe = config.model_copy(update={"execution": execution})
    wish = Wish(fresh, select, wait=wait, begins=not collect_only, patience_s=wait_s)
    return await asked(recipe, wish)  # type: ignore[return-value]
