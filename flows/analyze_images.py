"""The flow `analyze_images`: plan, one task per shard, a summary."""

from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from prefect import flow, runtime, tags, task
from prefect.blocks.system import Secret
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed, Failed
from prefect.tasks import Task

from flows.artifacts import publish, shown
from flows.logs import shipped_logs
from flows.summary import in_a_line
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError, RunError, StoppedError
from vision_pipeline.pipeline.ask import Asker
from vision_pipeline.pipeline.run import Summary, carry_out
from vision_pipeline.pipeline.shard import analyze_shard
from vision_pipeline.wiring.services import Wish, open_services
from vision_pipeline.wiring.watch import Watch, current_watch, stop_on_signals, watching

__all__ = ["AlertError", "TerminationSignal", "analyze_images"]

# Prefect kills a cancelled run of a deployment 30 s after its signal.
CANCEL_GRACE_S = 20.0


class AlertError(RunError):
    """More rows are errors than the recipe's `alerts` allow; the table has them all.

    Args:
        config: The recipe.
        summary: What became of the run.
    """

    def __init__(self, config: RunConfig, summary: Summary) -> None:
        codes = ", ".join(f"{code} {rows:,}" for code, rows in summary.errors.items())
        super().__init__(
            f"{summary.failed:,} of {summary.items:,} rows are errors ({codes}), more than "
            f"alerts.max_error_share: {config.alerts.max_error_share:g} allows; the table is "
            "written: see the summary artifact"
        )
        self.summary = summary


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
    try:
        return await analyze_shard(_asker.get(), shard)
    except RunError as error:
        return _ended(error)  # type: ignore[return-value]


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
    try:
        with tags(config.model.provider, config.model.name, config.name), shipped_logs():
            summary = await _analyzed(config, Wish(fresh, frozenset(retry or ()), wait))
        if config.alerts.are_due(rows=summary.items, errors=summary.failed):
            raise AlertError(config, summary)
    except RunError as error:
        return _ended(error)  # type: ignore[return-value]
    return Completed(message=in_a_line(summary), data=summary)  # type: ignore[return-value]


async def _analyzed(config: RunConfig, wish: Wish) -> Summary:
    key = await _secret(config.model.api_key_block)
    watch = _watch()
    with watching(watch):
        async with (
            shown(config.name, watch.progress),
            open_services(config, wish, api_key=key) as services,
        ):
            summary = await carry_out(services, _as_task)
    await publish(config.name, summary)
    return summary


def _ended(error: RunError) -> State[Any]:
    """The state that says so; an error that is raised is a fault in the code to Prefect's log."""
    state = Cancelled if isinstance(error, StoppedError) else Failed
    return state(message=str(error), data=error)


def _watch() -> Watch:
    context = FlowRunContext.get()
    if not (context and context.flow_run and context.flow_run.deployment_id):
        return current_watch()
    # Prefect's own handler breaks the event loop, and with it what is on the wire.
    return replace(current_watch(), signals=stop_on_signals, grace_s=CANCEL_GRACE_S)


async def _secret(block: str | None) -> str | None:
    if block is None:
        return None
    try:
        secret = await Secret.aload(block)
    except ValueError as error:
        raise ConfigError(f"model.api_key_block: {block}: {error}") from None
    return str(secret.get())  # type: ignore[attr-defined]
