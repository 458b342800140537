"""Who reads and decodes the images of a report: what reads and decodes those of a run."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

from vision_pipeline.adapters.fetch import FetchSettings, UrlFetcher
from vision_pipeline.adapters.images import ImageReader, ParquetReader, TarReader, ZipReader
from vision_pipeline.adapters.preparation import Preparer, WorkerLimits
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.records import ImageRef, PreparedImage, SourceImage

_DECODE_S = 20.0


@contextmanager
def open_pictures(
    settings: ImageSettings, *, fetch: bool = False
) -> Iterator[Callable[[ImageRef], PreparedImage]]:
    """A function for threads that gives images as `settings` say, from wherever a run takes them.

    Decoders run in processes of their own, so that a hostile file costs no more than its picture.

    Args:
        settings: How they are shown.
        fetch: Whether `http` and `https` URLs are fetched; only from public addresses.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="pictures", daemon=True)
    thread.start()
    stack = AsyncExitStack()
    preparer = Preparer(settings, WorkerLimits(max_s=_DECODE_S), workers=os.cpu_count() or 1)
    try:
        opening = _open_reader(settings, stack, fetch=fetch)
        reader = asyncio.run_coroutine_threadsafe(opening, loop).result()

        async def draw(ref: ImageRef) -> PreparedImage:
            source = await reader.read(ref)
            return await preparer.prepare(
                source, page=ref.page, max_sent_bytes=settings.max_sent_bytes
            )

        yield lambda ref: asyncio.run_coroutine_threadsafe(draw(ref), loop).result()
    finally:
        preparer.close()
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _open_reader(
    settings: ImageSettings, stack: AsyncExitStack, *, fetch: bool
) -> ImageReader:
    archives = ZipReader()
    rows = ParquetReader(max_page_bytes=settings.max_source_bytes)
    stack.callback(archives.close)
    stack.callback(rows.close)
    get: Callable[[str], Awaitable[SourceImage]] = _refuse
    if fetch:
        fetcher = UrlFetcher(FetchSettings(max_bytes=settings.max_source_bytes))
        get = (await stack.enter_async_context(fetcher)).fetch
    return ImageReader(
        get,
        members={"tar": TarReader(), "zip": archives, "parquet": rows},
        max_bytes=settings.max_source_bytes,
    )


async def _refuse(_url: str) -> SourceImage:
    raise ItemError(ErrorCode.BLOCKED_URL, "an image on the web; --fetch shows it")
