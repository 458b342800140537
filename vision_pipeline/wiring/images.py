"""Which adapters list, read and prepare the images."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vision_pipeline.adapters.fetch import FetchSettings, UrlFetcher
from vision_pipeline.adapters.images import (
    ImageReader,
    ParquetReader,
    TarReader,
    ZipReader,
    is_changed_in_store,
)
from vision_pipeline.adapters.preparation import Preparer, WorkerLimits
from vision_pipeline.adapters.sources import local_root, open_source
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.config_images import SourceConfig
from vision_pipeline.core.image_formats import PLUGIN_PACKAGES
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.question import Question
from vision_pipeline.core.records import RESERVED_COLUMNS
from vision_pipeline.pipeline.fingerprints import FINGERPRINT
from vision_pipeline.pipeline.item import WEB
from vision_pipeline.pipeline.services import ORIGIN, Source

DECODING_VERSION = 2  # raise it when more files can be decoded: those that failed are tried again
LOOKS_AT_ONCE = 32  # at images in stores, whether they have changed
AHEAD_PER_CORE = 2  # images prepared while requests are in flight


@dataclass(frozen=True, slots=True)
class Images:
    """Everything that has to do with images, opened for a run.

    Attributes:
        is_changed: As in `Services`.
        ahead: How many images may be prepared before a request is free for them.
    """

    source: Source
    reader: ImageReader
    preparer: Preparer
    is_changed: Callable[[Sequence[tuple[str, str]]], list[bool]] | None
    ahead: int


async def open_images(config: RunConfig, question: Question, stack: AsyncExitStack) -> Images:
    """Open what lists, reads and prepares images; `stack` closes it.

    Raises:
        SourceError: The source is not there, or its settings contradict each other.
    """
    cores = os.cpu_count() or 1
    preparer = Preparer(
        _image_settings(config, question),
        WorkerLimits(max_s=config.image.max_decode_s, max_bytes=config.image.max_decode_bytes),
        workers=cores,
    )
    stack.callback(preparer.close)
    source = build_source(config, count_pages=preparer.count_pages)
    fetcher = await stack.enter_async_context(UrlFetcher(_fetch_settings(config)))
    return Images(
        source=source,
        reader=_reader(config, fetcher, stack),
        preparer=preparer,
        is_changed=_changes(fetcher) if config.source.revalidate else None,
        ahead=AHEAD_PER_CORE * cores,
    )


def build_source(config: RunConfig, *, count_pages: Callable[[bytes], int]) -> Source:
    """The source that the configuration names; nothing is listed yet.

    Args:
        config: The run.
        count_pages: How many pages a PDF has; called in the thread that lists.

    Raises:
        SourceError: It is not there, or cannot be read.
    """
    source = config.source
    return open_source(
        path=source.path,
        manifest=source.manifest,
        image_column=source.image_column,
        id_column=source.id_column,
        group_by=source.group_by,
        include=source.include,
        exclude=source.exclude,
        follow_links=source.follow_links,
        column_types=source.column_types,
        order_by=source.order_by,
        reserved=(*RESERVED_COLUMNS, FINGERPRINT.name, ORIGIN.name),
        max_pages=config.image.max_pages,
        max_source_bytes=config.image.max_source_bytes,
        count_pages=count_pages,
    )


def optional_formats() -> dict[str, bool]:
    """The formats that the extra [formats] decodes, and whether each one's package is installed."""
    return {name: find_spec(package) is not None for name, package in PLUGIN_PACKAGES.items()}


def abilities(config: RunConfig) -> str:
    """What decides whether an image can be read: decoders and limits, as one text."""
    image = config.image
    decoders = sorted(name for name, is_installed in optional_formats().items() if is_installed)
    limits = [image.max_source_bytes, image.max_source_pixels, image.max_pages]
    limits += [image.max_decode_bytes, math.ceil(image.max_decode_s)]
    rules = f"{config.source.allow_private_urls}:{image.verify}"
    return f"{DECODING_VERSION}:{limits}:{rules}:{decoders}"


def _fetch_settings(config: RunConfig) -> FetchSettings:
    usual = FetchSettings()
    return FetchSettings(
        timeout_s=min(usual.timeout_s, config.retry.timeout_s),
        backoffs_s=usual.backoffs_s[: config.retry.max_attempts - 1],
        max_bytes=config.image.max_source_bytes,
        allow_private=config.source.allow_private_urls,
        max_connections=config.limits.max_in_flight,
        max_per_host=config.source.max_connections_per_host,
    )


def _image_settings(config: RunConfig, question: Question) -> ImageSettings:
    image = config.image
    return ImageSettings(
        max_side_px=int(question.preparation["max_side_px"]),
        patch_px=question.rule.patch_px,
        max_tokens=image.max_image_tokens,
        format=image.format,
        quality=image.quality,
        strip_metadata=image.strip_metadata,
        verify=image.verify,
        max_source_bytes=image.max_source_bytes,
        max_source_pixels=image.max_source_pixels,
        max_pages=image.max_pages,
    )


def _reader(config: RunConfig, fetcher: UrlFetcher, stack: AsyncExitStack) -> ImageReader:
    # A page is held about three times while its rows are read.
    archives, rows = ZipReader(), ParquetReader(max_page_bytes=config.image.max_decode_bytes // 4)
    stack.callback(archives.close)
    stack.callback(rows.close)
    return ImageReader(
        fetcher.fetch,
        members={"tar": TarReader(), "zip": archives, "parquet": rows},
        max_bytes=config.image.max_source_bytes,
        allow_private=config.source.allow_private_urls,
        root=_root(config.source),
    )


def _root(source: SourceConfig) -> Path | None:
    return None if source.path is None or source.follow_links else local_root(source.path)


def _changes(fetcher: UrlFetcher) -> Callable[[Sequence[tuple[str, str]]], list[bool]]:
    loop = asyncio.get_running_loop()
    turns = asyncio.Semaphore(LOOKS_AT_ONCE)  # those at servers have their own

    async def one(uri: str, version: str) -> bool:
        if uri.startswith(WEB):
            return await fetcher.is_changed(uri, version)
        async with turns:
            return await is_changed_in_store(uri, version)

    async def ask(known: Sequence[tuple[str, str]]) -> list[bool]:
        return await asyncio.gather(*(one(uri, version) for uri, version in known))

    return lambda known: asyncio.run_coroutine_threadsafe(ask(known), loop).result()
