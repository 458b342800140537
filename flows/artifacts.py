"""What a flow run shows on its server: how far it is while it works, and a summary at the end.

A server that is away never fails a run: the table is written all the same.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import NoReturn
from uuid import UUID

import httpx
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from flows.summary import in_a_line, markdown
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.summary import Summary

INTERVAL_S = 2.0
PROGRESS_TIMEOUT_S = 10.0
SUMMARY_TIMEOUT_S = 30.0  # an API call blocks for as long as the server is away


@asynccontextmanager
async def shown(name: str, progress: Progress) -> AsyncIterator[None]:
    """Within the block, the artifact `NAME-progress` follows the counters."""
    artifact = _ProgressArtifact(_key(name, "progress"), progress)
    following = asyncio.create_task(artifact.follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.wait({following})
        await artifact.show()


async def publish(name: str, summary: Summary) -> None:
    """Store the summary as the artifact `NAME-summary`."""
    artifact = acreate_markdown_artifact(
        markdown(name, summary), key=_key(name, "summary"), description=in_a_line(summary)
    )
    if (error := await _within(SUMMARY_TIMEOUT_S, artifact)) is not None:
        get_run_logger().warning("the summary artifact was not stored: %s", error)


class _ProgressArtifact:
    def __init__(self, key: str, progress: Progress) -> None:
        self._key = key
        self._progress = progress
        self._id: UUID | None = None

    async def follow(self) -> NoReturn:
        while True:
            await self.show()
            await asyncio.sleep(INTERVAL_S)

    async def show(self) -> None:
        await _within(PROGRESS_TIMEOUT_S, self._store())

    async def _store(self) -> None:
        percent, told = percentage(self._progress), description(self._progress)
        if self._id is None:
            self._id = await acreate_progress_artifact(percent, self._key, told)
        else:
            await aupdate_progress_artifact(self._id, percent, told)


def percentage(progress: Progress) -> float:
    """How much is done, from 0 to 100."""
    if progress.total is None:
        return 0.0
    return 100.0 * progress.done / progress.total if progress.total else 100.0


def description(progress: Progress) -> str:
    """The counters in a line."""
    if progress.waits_for:
        return f"waiting for {progress.waits_for}"
    if progress.total is None:
        return f"listing {progress.lists}"
    if not progress.total:
        return "nothing to do"
    left_s = progress.left_s() if progress.total > progress.done else None
    parts = [
        f"{progress.done:,} of {progress.total:,}",
        f"{progress.failed:,} errors",
        f"{progress.cost_usd:.4f} USD" if progress.cost_usd else "",
        f"{left_s:,.0f} s left" if left_s else "",
        progress.activity.news,
    ]
    return " · ".join(part for part in parts if part)


async def _within(seconds: float, call: Awaitable[object]) -> Exception | None:
    try:
        async with asyncio.timeout(seconds):
            await call
    except (TimeoutError, OSError, httpx.HTTPError, PrefectException, RuntimeError) as error:
        return error
    return None


def _key(name: str, kind: str) -> str:
    """Keys have lower-case letters, digits and dashes."""
    return f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}-{kind}"
