"""Images in object stores and other file systems behind a URL that fsspec knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import fsspec

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.records import ImageRef, SourceImage
from vision_pipeline.core.stores import version_of


async def read_from_store(
    ref: ImageRef, *, max_bytes: int, limit: Callable[[int], None]
) -> SourceImage:
    """An image with its version; one request where the source has listed it, else two.

    Args:
        ref: Where it is, and what the source knows of it.
        max_bytes: One byte more than that is read at most.
        limit: Refuses a size in bytes.

    Raises:
        ItemError: `source_missing` where it cannot be had, and what `limit` raises.
    """
    size, version = ref.size_bytes, ref.version
    try:
        file_system, path = fsspec.core.url_to_fs(ref.uri)
        if size is None:
            info = await _call(file_system, "info", path)
            size, version = info["size"], version_of(info)
        limit(size or 0)
        # One request; the end guards against a file that has grown since it was listed.
        data = await _call(file_system, "cat_file", path, end=max_bytes + 1) if size else b""
    except ItemError:
        raise
    except Exception as error:  # each backend has its own
        detail = f"{type(error).__name__}: {error}"
        raise ItemError(ErrorCode.SOURCE_MISSING, detail) from error
    limit(len(data))
    return SourceImage(data, version)


async def is_changed_in_store(uri: str, version: str) -> bool:
    """Whether another version is known to be there; the image itself is not read.

    What is gone has changed. Where the store does not say or cannot be asked, nothing has.
    """
    try:
        file_system, path = fsspec.core.url_to_fs(uri)
        file_system.invalidate_cache()
        found = version_of(await _call(file_system, "info", path))
    except FileNotFoundError:
        return True
    except Exception:  # noqa: BLE001  (each backend has its own)
        return False
    return found not in {"", version}


async def _call(file_system: Any, name: str, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
    """One request: of those that fsspec makes in its own loop many at once, without a thread."""
    if file_system.async_impl and not file_system.asynchronous:
        work = getattr(file_system, f"_{name}")(*arguments, **named)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, file_system.loop))
    return await asyncio.to_thread(getattr(file_system, name), *arguments, **named)
