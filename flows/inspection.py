"""What a Prefect server knows of a recipe: its deployments, and who would run them."""

from collections.abc import Iterator

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import DeploymentSchedule, DeploymentStatus, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from flows.deployments import AUTOMATION, SILENT_S
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.findings import Finding

MOST = 200  # deployments that are looked at


def look_at_server(config: RunConfig) -> Iterator[Finding]:
    """Whether the server would run this recipe on a schedule, and what is in the way."""
    try:
        with get_client(sync_client=True) as client:
            yield from _look(config, client)
    except httpx.HTTPError as error:  # a key of its own, or gone meanwhile
        yield Finding("schedule", ok=False, detail=f"the server refuses to tell: {error}")


def _look(config: RunConfig, client: SyncPrefectClient) -> Iterator[Finding]:
    if config.model.api_key_block is not None:
        yield _secret(config.model.api_key_block, client)
    flow = FlowFilter(name=FlowFilterName(any_=["analyze_images"]))
    deployments = client.read_deployments(flow_filter=flow, limit=MOST)
    mine = [each for each in deployments if _recipe_name(each) == config.name]
    if not mine:
        yield Finding("schedule", ok=True, detail="none for this recipe (`serve`, or prefect.yaml)")
        return
    for deployment in mine:
        yield _schedule(deployment, config)
        yield _who_runs(deployment, client)
    yield _killed_runs(client)


def _secret(block: str, client: SyncPrefectClient) -> Finding:
    try:
        client.read_block_document_by_name(block, "secret", include_secrets=False)
    except ObjectNotFound:
        return Finding("secret", ok=False, detail=f"no Secret block {block} on the server")
    return Finding("secret", ok=True, detail=f"the Secret block {block} is there")


def _recipe_name(deployment: DeploymentResponse) -> object:
    recipe = deployment.parameters.get("config")
    return recipe.get("name") if isinstance(recipe, dict) else None


def _schedule(deployment: DeploymentResponse, config: RunConfig) -> Finding:
    name = f"analyze_images/{deployment.name}"
    active = [_when(each) for each in deployment.schedules if each.active]
    if not _is_same(deployment, config):
        return Finding("schedule", ok=False, detail=f"{name}: of another recipe; deploy it again")
    if deployment.paused or not active:
        return Finding("schedule", ok=False, detail=f"{name}: paused, or without a schedule")
    return Finding("schedule", ok=True, detail=f"{name}: {', '.join(active)}")


def _is_same(deployment: DeploymentResponse, config: RunConfig) -> bool:
    try:
        return RunConfig.model_validate(deployment.parameters.get("config")) == config
    except ValidationError:  # of an earlier version
        return False


def _when(each: DeploymentSchedule) -> str:
    schedule = each.schedule
    if isinstance(schedule, CronSchedule):
        return f"cron {schedule.cron!r} {schedule.timezone or 'UTC'}"
    if isinstance(schedule, IntervalSchedule):
        return f"every {schedule.interval.total_seconds():g} s"
    return "a recurrence rule"


def _who_runs(deployment: DeploymentResponse, client: SyncPrefectClient) -> Finding:
    pool = deployment.work_pool_name
    if pool is None:
        is_served = deployment.status is DeploymentStatus.READY
        detail = "a process serves it" if is_served else "no process serves it: start `serve` again"
        return Finding("workers", ok=is_served, detail=detail)
    try:
        workers = client.read_workers_for_work_pool(pool)
    except ObjectNotFound:
        return Finding("workers", ok=False, detail=f"no work pool {pool}")
    online = sum(worker.status is WorkerStatus.ONLINE for worker in workers)
    start = "" if online else f"; `prefect worker start --pool {pool}` starts one"
    return Finding(
        "workers", ok=online > 0, detail=f"{online} online in the work pool {pool}{start}"
    )


def _killed_runs(client: SyncPrefectClient) -> Finding:
    known = client.read_automations_by_name(AUTOMATION)
    if known and known[0].enabled:
        return Finding(
            "killed runs", ok=True, detail=f"end as crashed after {SILENT_S} s of silence"
        )
    detail = f"stay running for ever: deploy again for the automation {AUTOMATION!r}"
    return Finding("killed runs", ok=False, detail=detail)
