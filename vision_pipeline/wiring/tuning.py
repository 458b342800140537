"""Runs of one recipe under several settings, about the items that a truth knows."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.adapters.batch_journal import BatchJournal
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import BusyError, ConfigError
from vision_pipeline.core.models import Price
from vision_pipeline.pipeline.run import carry_out
from vision_pipeline.pipeline.services import Source
from vision_pipeline.pipeline.shard import analyze_shard, answer_columns
from vision_pipeline.pipeline.summary import Summary
from vision_pipeline.results.evaluation.matching import match_rows
from vision_pipeline.results.evaluation.truth import Truth
from vision_pipeline.wiring.ledgers import ledger_place
from vision_pipeline.wiring.library import find_model, load_catalogue, load_template
from vision_pipeline.wiring.services import open_services

FOLDER = "tune"
_PARTS = re.compile(r"[.\[]")  # of a field's name, such as `items[].price`


def trial_config(config: RunConfig, name: str, *, max_usd: float | None) -> RunConfig:
    """A recipe under a setting: with a table of its own, and the ledger of the recipe.

    Args:
        config: The recipe with the setting over it.
        name: Of the table's folder.
        max_usd: What it may spend; None: as the recipe says.
    """
    place = ledger_place(config, OutputFolder(config.output.path))
    output = config.output.model_copy(
        update={
            "path": posixpath.join(config.output.path, FOLDER, name),
            "ledger": config.output.ledger or str(place),
        }
    )
    limits = {} if max_usd is None else {"usd": max_usd}
    budget = config.budget.model_copy(update=limits)
    return config.model_copy(update={"output": output, "budget": budget})


def price_of(config: RunConfig) -> Price | None:
    """What the recipe's model costs as it is asked; None where nobody knows.

    Raises:
        ConfigError: The model is retired, or sees no images.
    """
    spec = find_model(config.model, load_catalogue(), today=datetime.now(UTC))
    if spec is None or spec.price is None:
        return None
    return spec.price.batch_price if config.execution.mode == "batch" else spec.price


def check_recipe(
    config: RunConfig,
    truth: Truth,
    renamed: Collection[str],
    *,
    field: str | None,
    watched: bool,
) -> None:
    """See, before anything is paid, that a setting can be tried and judged.

    Args:
        config: The recipe with the setting over it.
        truth: What answers are held against.
        renamed: Fields that columns of the truth are said to be about.
        field: What accuracy is of; None: every field of a row.
        watched: Whether its cost is.

    Raises:
        ConfigError: Its answers have no such field, the truth is about none of theirs, or its model
            has no price.
    """
    if price_of(config) is None and watched:
        raise ConfigError(f"--max-cost: {config.model.name} has no list price")
    names = [name for name, _ in answer_columns(load_template(config.prompt))]
    told = {part for column in (*truth.columns, *renamed) for part in _PARTS.split(column)}
    if told.isdisjoint(names):
        raise ConfigError(
            f"{truth.file}: none of its columns is a field of the answers to {config.prompt} "
            f"({', '.join(sorted(names))}); name one with --map COLUMN=FIELD"
        )
    if field is not None and _PARTS.split(field)[0] not in names:
        raise ConfigError(
            f"--field: the answers have no field {field!r}; there are: {', '.join(names)}"
        )


def check_no_jobs(config: RunConfig) -> None:
    """See that no batch job of the recipe's own runs may bring answers that are asked here.

    Raises:
        BusyError: One may.
    """
    journal = BatchJournal(OutputFolder(config.output.path))
    jobs = sum(part.may_have_job for each in journal.run_ids() for part in journal.parts(each))
    if jobs:
        raise BusyError(
            f"{jobs:,} batch jobs of {config.output.path} are under way, and may bring answers to "
            "this: collect them first, or end them with `vision-pipeline batch cancel CONFIG`"
        )


async def run_trial(config: RunConfig, truth: Truth, *, key: str | None) -> Summary:
    """Ask about the items that a truth knows; what the ledger has costs nothing.

    Raises:
        ConfigError: The truth knows none of the source's items.
        RunError: As for any run.
    """
    async with open_services(config) as services:
        known = _Known(services.source, truth, key)
        return await carry_out(replace(services, source=known), analyze_shard)


class _Known:
    """Those items of a source that a truth knows."""

    def __init__(self, source: Source, truth: Truth, key: str | None) -> None:
        self._source, self._truth, self._key = source, truth, key

    @property
    def counts(self) -> Mapping[str, int]:
        """How many files were passed over, by reason; whole after the last batch."""
        return self._source.counts

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches of the source, without the other items."""
        listed = list(self._source.batches())
        ids = [each for batch in listed for each in batch["item_id"].to_pylist()]
        uris = [images[0]["uri"] for batch in listed for images in batch["images"].to_pylist()]
        known = self._among(ids, uris) if ids else set()
        for batch in listed:
            mask = pc.is_in(batch["item_id"], pa.array(sorted(known), pa.string()))
            yield batch.filter(mask)

    def _among(self, ids: list[str], uris: list[str]) -> Collection[str]:
        matching = match_rows(self._truth, ids, uris, key=self._key)
        return {ids[place] for _, place in matching.pairs}
