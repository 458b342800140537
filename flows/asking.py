"""What the flows do that ask a model: the job, alerts, and the key from a Secret block."""

from prefect.blocks.system import Secret
from prefect.client.schemas.objects import State

from flows.quota import quota_server
from flows.shards import as_tasks, completed, ended, performed
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError, RunError
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.wiring.remote import open_runner
from vision_pipeline.wiring.services import Wish, open_services


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


async def asked(config: RunConfig, wish: Wish) -> State[Summary]:
    """How a flow run ends that does what is wanted of a recipe."""

    async def job() -> Summary:
        key = await _secret(config.model.api_key_block)
        server = quota_server(config.limits)
        async with (
            open_services(config, wish, api_key=key, quota_server=server) as services,
            open_runner(services, wish, open_quota=quota_server, api_key=key) as analyze,
        ):
            return await carry_out(services, as_tasks(analyze))

    try:
        summary = await performed(config, job)
        if config.alerts.are_due(rows=summary.items, errors=summary.failed):
            raise AlertError(config, summary)
    except RunError as error:
        return ended(error)
    return completed(summary)


async def _secret(block: str | None) -> str | None:
    if block is None:
        return None
    try:
        secret = await Secret.aload(block)
    except ValueError as error:
        raise ConfigError(f"model.api_key_block: {block}: {error}") from None
    return str(secret.get())  # type: ignore[attr-defined]
