"""The provider's Batch API of a recipe, and the runs that have jobs there."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any

from vision_pipeline.adapters.batch_api.client import BatchApi
from vision_pipeline.adapters.batch_input import InputFile
from vision_pipeline.adapters.batch_journal import BatchJournal
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.core.batch_forms import form_for
from vision_pipeline.core.batch_parts import Part
from vision_pipeline.core.batch_refusals import check_has_batches
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError, GoneError
from vision_pipeline.pipeline.batch.jobs import LISTED_AFTER_S
from vision_pipeline.pipeline.batch_services import BatchServices
from vision_pipeline.transport.endpoint import Endpoint
from vision_pipeline.wiring.endpoints import base_url_of, endpoint_of
from vision_pipeline.wiring.library import find_key, telling_of_no_key

OpenEndpoint = Callable[[], Awaitable[Endpoint]]


def open_batches(
    config: RunConfig,
    folder: OutputFolder,
    endpoint: OpenEndpoint,
    stack: AsyncExitStack,
    *,
    patience_s: float | None = None,
) -> BatchServices:
    """The Batch API of a recipe's provider; closed with the stack.

    Args:
        config: The recipe.
        folder: Where the jobs are noted.
        endpoint: Where the provider is.
        stack: Closes it.
        patience_s: How long jobs are waited for; None: as the recipe says.

    Raises:
        ConfigError: The provider has no Batch API there, or ends before its jobs do.
    """
    check_has_batches(base_url_of(config.model))
    is_mortal = config.model.provider == "emulator" and config.model.base_url is None
    form = form_for(config.model.provider)
    api = BatchApi(endpoint, form=form, model=config.model.name, retry=config.retry)
    stack.push_async_callback(api.aclose)
    settings = config.batch
    if patience_s is None:
        patience_s = math.inf if settings.wait_s is None else settings.wait_s
    if is_mortal and patience_s < math.inf:
        raise ConfigError(
            "model.base_url: the emulator that a command starts ends with it, and so do its batch "
            "jobs; wait for them (`run --mode batch`), or start one: `vision-pipeline emulator`"
        )
    settings = settings.model_copy(
        update={
            "max_file_bytes": min(settings.max_file_bytes, form.max_file_bytes),
            "max_requests": min(settings.max_requests, form.max_requests),
            "max_inline_requests": min(settings.max_inline_requests, form.max_inline_requests),
        }
    )
    return BatchServices(
        api=api,
        journal=BatchJournal(folder),
        settings=settings,
        new_file=InputFile,
        is_mortal=is_mortal,
        patience_s=patience_s,
    )


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A batch job, as it is noted here and as the provider tells of it.

    Attributes:
        state: Of the job; of what is not handed over yet, or collected, how far it has come.
    """

    run_id: str
    job_id: str
    state: str
    requests: int
    completed: int
    failed: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def job_statuses(config: RunConfig) -> list[JobStatus]:
    """The jobs of all runs of an output that are not finished; the provider is asked.

    Raises:
        RunError: The journal cannot be read, or the provider refuses the key or does not answer.
    """
    folder = OutputFolder(config.output.path)
    journal = BatchJournal(folder)
    noted = [(run_id, part) for run_id in journal.run_ids() for part in journal.parts(run_id)]
    if not noted:
        return []
    key = find_key(config.model, os.environ)
    async with AsyncExitStack() as stack:
        stack.enter_context(telling_of_no_key(config.model, key))
        endpoint = endpoint_of(config.model, key, stack)
        batch = open_batches(config, folder, endpoint, stack, patience_s=math.inf)
        return [await _status(batch, run_id, part) for run_id, part in noted]


async def _status(batch: BatchServices, run_id: str, part: Part) -> JobStatus:
    if part.state != "submitted":
        done, failed = part.answered + len(part.failures), len(part.failures)
        state = f"{part.state}, {part.outcome}" if part.outcome else part.state
        return JobStatus(run_id, part.job_id, state, part.requests, done, failed)
    try:
        is_new = batch.now_s() - part.at_s < LISTED_AFTER_S
        job = await batch.api.job(part.job_id, is_new=is_new)
    except GoneError:
        return JobStatus(run_id, part.job_id, "unknown to the provider", part.requests, 0, 0)
    state = job.state.value
    return JobStatus(run_id, part.job_id, state, part.requests, job.completed, job.failed)
