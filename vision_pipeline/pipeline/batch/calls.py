"""Calls of a Batch API that a stop cuts short: the next process takes them up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from vision_pipeline.core.activity import Stage
from vision_pipeline.pipeline.services import Services

T = TypeVar("T")


async def unless_stopped(services: Services, call: Awaitable[T]) -> T:
    """What a call comes to.

    An outage is borne within it for minutes. Whatever it has done by then is found by its name.

    Raises:
        RunError: The reason to stop, or why the call fails.
    """
    stop, activity = services.stop, services.progress.activity
    calling = asyncio.ensure_future(call)
    stopping = asyncio.create_task(stop.requested.wait())
    activity.hold(Stage.BATCH)
    try:
        await asyncio.wait({calling, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        activity.hold(None)
        stopping.cancel()
        if not calling.done():
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
    if stop.cause is not None and (calling.cancelled() or calling.exception() is not None):
        raise stop.cause
    return calling.result()
