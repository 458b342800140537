"""Where the provider of a recipe is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from vision_pipeline.adapters.emulator_process import start_emulator
from vision_pipeline.core.config import ModelConfig
from vision_pipeline.transport.endpoint import Endpoint
from vision_pipeline.wiring.library import shipped

MISTRAL_URL = "https://api.mistral.ai/v1"


def base_url_of(model: ModelConfig) -> str:
    """The address up to `/v1`; that of Mistral where the recipe names none."""
    return model.base_url or MISTRAL_URL


def endpoint_of(
    model: ModelConfig, key: str | None, stack: AsyncExitStack
) -> Callable[[], Awaitable[Endpoint]]:
    """Where the provider is; an emulator of this process is started by the first call.

    Args:
        model: Which provider.
        key: Sent to it.
        stack: Stops an emulator that was started.
    """
    if model.provider != "emulator":
        return _there(Endpoint(base_url=base_url_of(model), api_key=key))
    if model.base_url is not None:
        return _there(Endpoint(base_url=model.base_url, api_key=key, use_proxy=False))
    starting, started = asyncio.Lock(), list[Endpoint]()

    async def here() -> Endpoint:
        async with starting:
            if not started:
                emulator = start_emulator(engine=model.engine, models=shipped("models.yaml"))
                url = await stack.enter_async_context(emulator)
                started.append(Endpoint(base_url=url, api_key=key, use_proxy=False))
        return started[0]

    return here


def _there(endpoint: Endpoint) -> Callable[[], Awaitable[Endpoint]]:
    async def there() -> Endpoint:
        return endpoint

    return there
