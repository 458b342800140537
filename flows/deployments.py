"""Flows on a schedule: the steps that prefect.yaml names, and a process that serves one recipe."""

import asyncio
import signal
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import (
    ConcurrencyLimitConfig,
    ConcurrencyLimitStrategy,
    StateType,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.runner import Runner
from prefect.schedules import Cron, Interval, Schedule
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from flows.analyze_images import analyze_images
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.config_file import parse_config
from vision_pipeline.core.errors import ConfigError

FLOWS = ["analyze_images", "backfill", "batch_jobs"]
TAG = "vision-pipeline"
AUTOMATION = "End killed runs of vision-pipeline"
SILENT_S = 300  # five heartbeats: a slow server or a busy machine is no death
ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


def recipe(file: str) -> dict[str, Any]:
    """A step of prefect.yaml: read a recipe, for the values of a deployment.

    Returns:
        `config`: the parameter; `tags`: who is asked; `folder`: where the recipe's paths begin.

    Raises:
        ConfigError: The file cannot be read, or a key or value is wrong.
    """
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    config = parse_config(text, file=file)
    return {"config": parameter(config), "tags": tags(config), "folder": str(Path.cwd())}


def parameter(config: RunConfig) -> dict[str, Any]:
    """A recipe as the parameter of a deployment: what it says itself; defaults are the flow's."""
    return config.model_dump(mode="json", exclude_unset=True)


def tags(config: RunConfig) -> list[str]:
    """What runs of a recipe are found by."""
    return [TAG, config.model.provider, config.model.name]


def end_killed_runs() -> dict[str, Any]:
    """A step of prefect.yaml: runs whose process was killed end as crashed, soon after.

    A server does not notice that by itself: such a run would stay running for ever. An automation
    that is there already is left alone, since an update forgets whom it waits for.
    """
    finals = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED)
    heartbeat = "prefect.flow-run.heartbeat"
    automation = AutomationCore(
        name=AUTOMATION,
        description=f"No sign of life from a run's process for {SILENT_S} s: it was killed.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={heartbeat},
            expect={heartbeat, *(f"prefect.flow-run.{final.value.title()}" for final in finals)},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": "flow", "prefect.resource.name": FLOWS}
            ),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=SILENT_S),
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                message="Its process was killed; the next run goes on where it was.",
                force=False,
            )
        ],
    )
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(AUTOMATION)
        if not known:
            client.create_automation(automation)
        elif (known[0].trigger, known[0].actions) != (automation.trigger, automation.actions):
            client.update_automation(known[0].id, automation)
    return {}


def every(seconds: int) -> Schedule:
    """A schedule by interval."""
    return Interval(seconds)


def at_times(cron: str, timezone: str) -> Schedule:
    """A schedule by cron expression, in a time zone such as `Europe/Paris`.

    Raises:
        ConfigError: One of them is none.
    """
    try:
        CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        causes = ", ".join(str(each["msg"]) for each in error.errors())
        raise ConfigError(f"--cron {cron!r} with --timezone {timezone!r}: {causes}") from None
    return Cron(cron, timezone=timezone)


class ServingRunner(Runner):
    """Ends on SIGTERM: Prefect's own handler calls a coroutine that nobody awaits, and goes on."""

    def handle_sigterm(self, *_args: object, **_frame: object) -> None:
        """Begin no further run; the one at work, a process of its own, comes to its end."""
        signal.raise_signal(signal.SIGINT)


def serve(config: RunConfig, schedule: Schedule) -> None:
    """Run a recipe on a schedule from this process, one run at a time, until it is stopped.

    The deployment is named after the recipe, and paused when this process ends.
    """
    end_killed_runs()
    runner = ServingRunner(name=config.name, limit=1)
    runner.add_flow(
        analyze_images,
        name=config.name,
        schedule=schedule,
        parameters={"config": parameter(config), "wait": True},
        tags=tags(config),
        concurrency_limit=ONE_AT_A_TIME,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(runner.start())
