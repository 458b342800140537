"""Images behind URLs: their bytes, and whether they changed."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Self

import httpx

from vision_pipeline.adapters.fetch.body import read_image
from vision_pipeline.adapters.fetch.client import WebClient
from vision_pipeline.adapters.fetch.failures import refuse_busy, refuse_status
from vision_pipeline.adapters.fetch.resolving import Resolve, resolve_by_system
from vision_pipeline.adapters.fetch.settings import SYSTEM_CLOCK, Clock, FetchSettings
from vision_pipeline.adapters.fetch.versions import condition, is_other, version_of
from vision_pipeline.core.errors import ErrorCode, ItemError, RetryableError
from vision_pipeline.core.records import SourceImage

_GONE = frozenset({404, 410})
# A signed URL is often signed for GET alone, and its HEAD forbidden.
_NO_HEAD = frozenset({403, 405, 501})
_SECOND_LOOK_S = 0.5


class UrlFetcher:
    """Fetches images from the web. An async context manager; open it within the event loop.

    Args:
        settings: The limits.
        resolve: Gives a host's addresses; only public ones of them are reached.
        clock: How time passes between requests; a request's own time-out is the event loop's.
    """

    def __init__(
        self,
        settings: FetchSettings,
        *,
        resolve: Resolve = resolve_by_system,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._web = WebClient(settings, resolve=resolve, clock=clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._web.aclose()

    async def fetch(self, url: str) -> SourceImage:
        """The image behind a URL, and its `ETag` or `Last-Modified` as its version.

        Raises:
            ItemError: `blocked_url` for an address that may not be reached, for credentials in
                the URL and for other schemes; `source_missing` where the server or the file is
                not there; `image_too_large` above `max_bytes`; `unreadable_image` for a body in
                an encoding that is not decoded or without an image, `unsupported_format` for an
                image that is not decoded; `timeout` where the last attempt took too long.
        """
        for backoff_s in self._settings.backoffs_s:
            try:
                return await self._web.ask("GET", url, self._image)
            except RetryableError:
                await self._clock.sleep(backoff_s)
        try:
            return await self._web.ask("GET", url, self._image)
        except RetryableError as error:
            raise ItemError(error.code, error.detail) from error

    async def is_changed(self, url: str, version: str) -> bool:
        """Whether another version is known to be behind a URL; the image itself is not read.

        What is gone has changed. Where the server does not say or cannot be asked, nothing has:
        to read the image again would tell no more. A broken answer is asked for once more, a
        server that is silent is not.

        Args:
            url: As it was fetched.
            version: What `fetch` gave with the image; "" for one that cannot be compared.
        """
        if not version:
            return False
        try:
            return await self._is_other(url, version)
        except ItemError:
            return False
        except RetryableError as error:
            if error.code is ErrorCode.TIMEOUT:
                return False
        await self._clock.sleep(_SECOND_LOOK_S)
        try:
            return await self._is_other(url, version)
        except (ItemError, RetryableError):
            return False

    async def _is_other(self, url: str, version: str) -> bool:
        read = partial(_compared, version=version)
        verdict = await self._web.ask("HEAD", url, read)
        if verdict is None:
            verdict = await self._web.ask("GET", url, read, headers=condition(version))
        return verdict is True

    async def _image(self, response: httpx.Response) -> SourceImage:
        refuse_status(response)
        version = version_of(response.headers)
        try:
            data = await read_image(response, max_bytes=self._settings.max_bytes)
        except ItemError as error:
            raise ItemError(error.code, error.detail, version=version) from error
        return SourceImage(data, version)


async def _compared(response: httpx.Response, *, version: str) -> bool | None:
    """Whether the response is of another version; None where the method is not answered."""
    if response.status_code in _GONE:
        return True
    if response.status_code in _NO_HEAD:
        return None
    refuse_busy(response)
    return response.is_success and is_other(version, response.headers)
