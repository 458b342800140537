"""The flow `analyze_images`: plan, one task per shard, a summary."""

from prefect import flow
from prefect.blocks.system import Secret

from flows.quota import quota_server
from flows.shards import as_tasks, completed, ended, flow_run_name, performed
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError, ErrorCode, RunError
from vision_pipeline.pipeline.run import Summary, carry_out
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
    wish = Wish(fresh, frozenset(retry or ()), wait)

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
        return ended(error)  # type: ignore[return-value]
    return completed(summary)  # type: ignore[return-value]


async def _secret(block: str | None) -> str | None:
    if block is None:
        return None
    try:
        secret = await Secret.aload(block)
    except ValueError as error:
        raise ConfigError(f"model.api_key_block: {block}: {error}") from None
    return str(secret.get())  # type: ignore[attr-defined]
