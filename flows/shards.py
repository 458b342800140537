"""What the flows share: how a flow run begins and ends, and a task per shard."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from prefect import runtime, tags, task
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
from vision_pipeline.core.errors import RunError, StoppedError, WaitingError
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.wiring.watch import Watch, current_watch, stop_on_signals, watching

__all__ = ["TerminationSignal", "as_tasks", "completed", "ended", "flow_run_name", "performed"]

# Prefect kills a cancelled run of a deployment 30 s after its signal.
CANCEL_GRACE_S = 20.0

T = TypeVar("T")


def flow_run_name() -> str:
    """The recipe's name, and when the run was to start."""
    config = runtime.flow_run.parameters["config"]
    name = config.name if isinstance(config, RunConfig) else config["name"]
    return f"{name}-{runtime.flow_run.scheduled_start_time:%Y%m%dT%H%M%S}"


async def performed(config: RunConfig, job: Callable[[], Awaitable[Summary]]) -> Summary:
    """The job of a flow run, shown on its server while it is done, and its summary published."""
    watch = _watch()
    with tags(config.model.provider, config.model.name, config.name), shipped_logs():
        with watching(watch):
            async with shown(config.name, watch.progress):
                summary = await job()
        await publish(config.name, summary)
    return summary


def completed(summary: Summary) -> State[Summary]:
    """The state of a flow run that has done its job."""
    return Completed(message=in_a_line(summary), data=summary)


def ended(error: RunError) -> State[Any]:
    """The state that says so; an error that is raised is a fault in the code to Prefect's log."""
    if isinstance(error, WaitingError):  # nothing is wrong: the next run collects them
        return Completed(name="Waiting", message=str(error), data=error)
    state = Cancelled if isinstance(error, StoppedError) else Failed
    return state(message=str(error), data=error)


def as_tasks(do: Callable[[T, int], Awaitable[int]]) -> Callable[[T, int], Awaitable[int]]:
    """The same work on a shard, as a task."""

    async def as_task(shared: T, shard: int) -> int:
        _do.set(partial(do, shared))
        return await _shard(shard)

    return as_task


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
        return await _do.get()(shard)
    except RunError as error:
        return ended(error)  # type: ignore[return-value]


# Not a parameter: Prefect walks through parameters, and this one holds every open service.
_do: ContextVar[Callable[[int], Awaitable[int]]] = ContextVar("do")


def _watch() -> Watch:
    context = FlowRunContext.get()
    if not (context and context.flow_run and context.flow_run.deployment_id):
        return current_watch()
    # Prefect's own handler breaks the event loop, and with it what is on the wire.
    return replace(current_watch(), signals=stop_on_signals, grace_s=CANCEL_GRACE_S)
