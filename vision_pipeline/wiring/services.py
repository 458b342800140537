"""Which adapter stands behind which protocol; opens them for a run, and closes them."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time

import pyarrow as pa

from vision_pipeline.adapters.batch_journal import BatchJournal
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.history import History
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.adapters.vision_api.client import VisionApi
from vision_pipeline.adapters.vision_api.leases import QuotaServer, open_leases
from vision_pipeline.adapters.vision_api.probe import ModelListing, list_models
from vision_pipeline.core.config import ModelConfig, RunConfig
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.models import ModelSpec
from vision_pipeline.core.prompts import PromptTemplate
from vision_pipeline.core.protocol import BodyFormat, decoding_fields
from vision_pipeline.core.question import Question
from vision_pipeline.core.selection import ALL, Selection
from vision_pipeline.core.tokens import DEFAULT_RULE
from vision_pipeline.pipeline.chunks import WHOLE, Chunks
from vision_pipeline.pipeline.services import Services, tell_nobody
from vision_pipeline.transport.endpoint import Endpoint
from vision_pipeline.wiring.batches import open_batches
from vision_pipeline.wiring.endpoints import base_url_of, endpoint_of
from vision_pipeline.wiring.holding import Announce, holding
from vision_pipeline.wiring.images import abilities, open_images
from vision_pipeline.wiring.ledgers import open_ledger
from vision_pipeline.wiring.library import (
    find_key,
    find_model,
    load_catalogue,
    load_template,
    telling_of_no_key,
)
from vision_pipeline.wiring.watch import current_watch

MISTRAL_HOSTS = (
    "https://api.mistral.ai/",
    "https://api.eu.mistral.ai/",
    "https://api.us.mistral.ai/",
)
MIN_PREPARING = 16  # so that slow servers of images do not keep the cores idle


def build_question(config: RunConfig, template: PromptTemplate, spec: ModelSpec | None) -> Question:
    """The question that this configuration asks."""
    rule = spec.rule if spec else DEFAULT_RULE
    image = config.image
    return Question(
        template=template,
        model=config.model.name,
        decoding=decoding_fields(config.model),
        preparation={
            "max_side_px": min(image.max_side_px, rule.max_side_px),
            "format": image.format,
            "quality": image.quality,
            "send": image.send,
            "max_image_tokens": image.max_image_tokens,
        },
        endpoint=_endpoint_name(config.model),
        rule=rule,
    )


def _endpoint_name(model: ModelConfig) -> str:
    # An answer belongs to who gave it: another server's answer to the same question is not reused.
    if model.provider == "emulator":
        return f"emulator:{model.engine}"
    if model.base_url is None or model.base_url.startswith(MISTRAL_HOSTS):
        return model.provider
    return f"{model.provider}:{model.base_url.rstrip('/')}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a command wants of a run beyond its recipe.

    Attributes:
        fresh: Ask everything again.
        selection: Which items of the source it is about.
        chunks: How much of it is worked on at a time.
        wait: Wait until no other command holds the output, instead of refusing.
        holds: Hold the output; not so in a process that works for one which does.
        begins: Begin a new run where none was cut off.
        patience_s: How long batch jobs are waited for; None: as the recipe says.
    """

    fresh: bool = False
    selection: Selection = ALL
    chunks: Chunks = WHOLE
    wait: bool = False
    holds: bool = True
    begins: bool = True
    patience_s: float | None = None

    @property
    def work(self) -> str:
        """A word for it."""
        if self.selection.is_all:
            return "run"
        is_retry = set(self.selection.told()) == {"codes"} and self.chunks == WHOLE
        return "retry" if is_retry else "backfill"


AS_USUAL = Wish()


@asynccontextmanager
async def open_services(
    config: RunConfig,
    wish: Wish = AS_USUAL,
    *,
    api_key: str | None = None,
    quota_server: QuotaServer | None = None,
    asks: bool = True,
) -> AsyncIterator[Services]:
    """Open everything that a run needs, and close it afterwards.

    Args:
        config: The run.
        wish: What is wanted of it.
        api_key: The key where it comes from a secret store; else the environment's.
        quota_server: Of the quota in `limits.shared`; closed with the rest. Without one, this
            process keeps to its share.
        asks: Whether the model will be asked and rows be written; without that no key is needed,
            and nobody is kept out of the output.

    Raises:
        BusyError: Another command holds the output.
        RunError: Something that the user can mend; nothing was sent.
    """
    # Arrow's own allocators keep what was freed: 15 MB more in a small run, 30 in a large one.
    pa.set_memory_pool(pa.system_memory_pool())
    template = load_template(config.prompt)
    catalogue = load_catalogue()
    spec = find_model(config.model, catalogue, today=datetime.now(UTC))
    key = api_key or (find_key(config.model, os.environ) if asks else None)
    in_usd = [key for key in config.budget.limits() if key.startswith("usd")]
    if in_usd and (spec is None or spec.price is None):
        raise ConfigError(
            f"budget.{in_usd[0]}: {config.model.name} has no list price, so its cost cannot be "
            "watched; add a row with its price to configs/models.yaml, or bound its tokens"
        )
    _check_groups(config, template)
    question = build_question(config, template, spec)
    taken = spec or ModelSpec(id=config.model.name)
    watch = current_watch()
    async with AsyncExitStack() as stack:
        stack.enter_context(watch.signals(watch.stop))
        stack.enter_context(telling_of_no_key(config.model, key))
        folder = OutputFolder(config.output.path)
        folder.check_writable()
        announce: Announce = tell_nobody
        if asks and wish.holds:
            work = f"{wish.work} of {config.name}"
            held = holding(folder, watch, work=work, wait=wish.wait)
            announce = await stack.enter_async_context(held)
            folder.sweep(now_s=time())
        images = await open_images(config, question, stack)
        ledger = open_ledger(config, folder)
        stack.callback(ledger.close)
        endpoint = endpoint_of(config.model, key, stack)
        model = VisionApi(
            endpoint,
            limits=config.limits,
            retry=config.retry,
            activity=watch.progress.activity,
            leases=open_leases(config.limits, quota_server),
        )
        stack.push_async_callback(model.aclose)
        results = ResultStore(folder)
        batch = None
        if config.execution.mode == "batch" and asks:
            batch = open_batches(config, folder, endpoint, stack, patience_s=wish.patience_s)
        yield Services(
            config=config,
            question=question,
            body_format=BodyFormat(
                fields={"model": config.model.name, **question.decoding},
                schema=template.schema.document if template.schema else None,
            ),
            price=spec.price if spec else None,
            source=images.source,
            images=images.reader,
            preparer=images.preparer,
            model=model,
            ledger=ledger,
            results=results,
            history=History(results),
            progress=watch.progress,
            slots=asyncio.Semaphore(config.limits.max_in_flight + images.ahead),
            preparing=asyncio.Semaphore(max(MIN_PREPARING, images.ahead)),
            stop=watch.stop,
            is_changed=images.is_changed,
            max_images=taken.max_images,
            max_image_bytes=taken.max_image_bytes,
            max_request_bytes=taken.max_request_bytes,
            context_tokens=taken.context_tokens,
            abilities=abilities(config),
            fresh=wish.fresh,
            selection=wish.selection,
            chunks=wish.chunks,
            say=watch.say,
            announce=announce,
            grace_s=min(config.retry.timeout_s, watch.grace_s),
            begins=wish.begins,
            batch=batch,
            journal=BatchJournal(folder) if asks else None,
        )


def _check_groups(config: RunConfig, template: PromptTemplate) -> None:
    """See that a prompt for several images can get them; of a path, only samples of a tar can.

    Raises:
        ConfigError: Every item would have a single image.
    """
    source = config.source
    may_be_tar = re.search(r"[*?\[]|\.tar$", source.path or "", re.IGNORECASE)
    if template.min_images > 1 and source.group_by is None and not may_be_tar:
        raise ConfigError(
            f"source.group_by: required, with source.manifest: the prompt {template.name} takes at "
            f"least {template.min_images} images in one request (min_images), and every item here "
            "has one"
        )


def check_output(config: RunConfig) -> str:
    """Try to write into the output folder; returns its path.

    Raises:
        OutputError: It cannot be written.
    """
    folder = OutputFolder(config.output.path)
    folder.check_writable()
    return folder.shown()


def probe_model(model: ModelConfig, environment: Mapping[str, str]) -> ModelListing:
    """Ask the configured server for the configured model, without a paid call.

    Raises:
        RunError: The key is missing or refused, or the server does not answer.
    """
    key = find_key(model, environment)
    use_proxy = model.provider != "emulator"
    endpoint = Endpoint(base_url=base_url_of(model), api_key=key, use_proxy=use_proxy)
    with telling_of_no_key(model, key):
        return list_models(endpoint, model.name)
