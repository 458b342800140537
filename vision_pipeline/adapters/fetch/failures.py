"""What can go wrong on the way to an image, in the pipeline's errors and without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import httpx

from vision_pipeline.adapters.fetch.resolving import BlockedAddressError
from vision_pipeline.adapters.fetch.urls import blocked, no_url
from vision_pipeline.core.errors import ErrorCode, ItemError, RetryableError

_RETRIED_STATUSES = frozenset({408, 425, 429})  # and 5xx
_OK = range(200, 300)
_PART = 206
_SERVER_ERRORS = range(500, 600)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the HTTP client raises into errors of the pipeline.

    They do not name the URL: it is the item's, and stands beside them.
    """
    try:
        yield
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: yarl's
        raise no_url() from error
    except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
        raise _sorted(error) from error


def refuse_status(response: httpx.Response) -> None:
    """Let an answer pass that carries a whole body.

    Raises:
        RetryableError: The server is busy or broken, or sends a part that nobody asked for.
        ItemError: `source_missing` for any other refusal.
    """
    refuse_busy(response)
    if response.status_code == _PART:
        detail = f"{_said(response)}: a part, though the whole was asked for"
        raise RetryableError(ErrorCode.SOURCE_MISSING, detail)
    if response.status_code not in _OK:
        raise ItemError(ErrorCode.SOURCE_MISSING, _said(response))


def refuse_busy(response: httpx.Response) -> None:
    """Let any answer pass that a second request would only repeat.

    Raises:
        RetryableError: The server is busy or broken.
    """
    status = response.status_code
    if status in _SERVER_ERRORS or status in _RETRIED_STATUSES:
        raise RetryableError(ErrorCode.SOURCE_MISSING, _said(response))


def _said(response: httpx.Response) -> str:
    return f"HTTP {response.status_code}"


def _sorted(error: Exception) -> ItemError | RetryableError:
    # By the first causes: the transport calls every failed connection a timeout.
    causes = list(_causes(error))
    closed = next((each for each in causes if isinstance(each, BlockedAddressError)), None)
    if closed is not None:
        return blocked(str(closed))
    if any(isinstance(each, aiohttp.InvalidURL) for each in causes):
        return no_url()
    if any(isinstance(each, TimeoutError) for each in causes):
        return RetryableError(ErrorCode.TIMEOUT, "no reply in time")
    if any(isinstance(each, aiohttp.ClientResponseError) for each in causes):
        return RetryableError(ErrorCode.SOURCE_MISSING, "no valid HTTP reply")
    # A client's message may quote the whole URL, and its query may be a signature.
    cause = type(error).__name__ if "?" in str(error) else str(error)
    return RetryableError(ErrorCode.SOURCE_MISSING, cause)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
