"""The flow `analyze_images`: plan, one task per shard, a summary."""

import asyncio
import re
from contextvars import ContextVar
from typing import Any

import httpx
from prefect import flow, runtime, tags, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.blocks.system import Secret
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.tasks import Task

from flows.quota import quota_server
from flows.summary import markdown
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.run import Summary, carry_out
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.wiring.services import Wish, open_services

__all__ = ["TerminationSignal", "analyze_images"]

ARTIFACT_TIMEOUT_S = 30.0  # an API call blocks for as long as the server is away


def _flow_run_name() -> str:
    config = runtime.flow_run.parameters["config"]
    name = config.name if isinstance(config, RunConfig) else config["name"]
    return f"{name}-{runtime.flow_run.scheduled_start_time:%Y%m%dT%H%M%S}"


async def _is_infrastructure(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    # Requests have their own retries; a bug or a refused key is not mended by a second try.
    outcome = await state.aresult(raise_on_failure=False)
    return isinstance(outcome, OSError)


@task(
    name="shard",
    task_run_name="shard-{shard}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[10, 60],
    retry_condition_fn=_is_infrastructure,
)
async def _shard(shard: int) -> int:
    return await analyze_shard(_asker.get(), shard)


# Not a parameter: Prefect walks through parameters, and this one holds every open service.
_asker: ContextVar[Asker] = ContextVar("asker")


async def _as_task(asker: Asker, shard: int) -> int:
    _asker.set(asker)
    return await _shard(shard)


@flow(name="analyze_images", flow_run_name=_flow_run_name, persist_result=False)
async def analyze_images(
    config: RunConfig, *, fresh: bool = False, retry: list[str] | None = None, wait: bool = False
) -> Summary:
    """Ask one question about every image of a source, and write a typed table.

    Args:
        config: Which images, which question, which model, where the table goes.
        fresh: Ask everything again, also what was answered before.
        retry: Ask only about items whose latest row has one of these error codes.
        wait: Wait for another command that holds the output, instead of refusing.
    """
    with tags(config.model.provider, config.model.name, config.name):
        key = await _secret(config.model.api_key_block)
        wish = Wish(fresh, frozenset(retry or ()), wait)
        server = quota_server(config.limits)
        async with open_services(config, wish, api_key=key, quota_server=server) as services:
            summary = await carry_out(services, _as_task)
        await _publish(config.name, summary)
    return summary


async def _secret(block: str | None) -> str | None:
    if block is None:
        return None
    try:
        secret = await Secret.aload(block)
    except ValueError as error:
        raise ConfigError(f"model.api_key_block: {block}: {error}") from None
    return str(secret.get())  # type: ignore[attr-defined]


async def _publish(name: str, summary: Summary) -> None:
    key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    try:
        async with asyncio.timeout(ARTIFACT_TIMEOUT_S):
            await acreate_markdown_artifact(markdown(name, summary), key=f"{key}-summary")
    except (TimeoutError, OSError, httpx.HTTPError, RuntimeError) as error:
        # The table is written; a server that is away must not fail the run.
        get_run_logger().warning("the summary artifact was not stored: %s", error)
