"""From a source to a frozen run: what is new, what is settled, where a cut-off run goes on."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa

from vision_pipeline.core.dialogue import READING_VERSION
from vision_pipeline.core.errors import ConfigError, SourceError
from vision_pipeline.core.prompts import PromptTemplate
from vision_pipeline.core.records import RESERVED_COLUMNS
from vision_pipeline.pipeline.choice import Choice
from vision_pipeline.pipeline.services import BaseServices, Results, Services
from vision_pipeline.pipeline.shard import answer_columns

OWN_COLUMNS = ("item_id", "images")
RUN_ID_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Run:
    """One frozen manifest and what is left of it.

    Attributes:
        items: Items in the manifest; 0 if the source holds nothing new, and then nothing is
            written at all.
        shard_rows: Items of each shard.
        pending: Shards without a result file, in order.
        resumed: Whether an earlier process began this run.
    """

    run_id: str
    items: int
    shard_rows: tuple[int, ...]
    pending: tuple[int, ...]
    resumed: bool

    @property
    def shards(self) -> int:
        """How many."""
        return len(self.shard_rows)


class Work(Protocol):
    """What a run is to be about.

    Attributes:
        identity: Equal for commands that go on with each other's runs.
        is_overtaken: Whether any later run keeps a cut-off one from being gone on with.
        facts: What the run file tells of this kind of run.
    """

    identity: str
    is_overtaken: bool
    facts: Mapping[str, Any]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The items with their fingerprints."""

    def skipped(self) -> dict[str, int]:
        """How much was passed over, by reason; whole after the last batch."""


def plan_run(services: Services, *, now: datetime, token: str) -> Run:
    """Go on with the run that was cut off, or freeze a new one.

    Args:
        services: Sources and results; `progress` is filled with what was passed over.
        now: UTC; the run's name begins with it.
        token: Four characters that tell apart runs begun in the same second elsewhere.

    Raises:
        SourceError: The source cannot be listed, or holds no image.
        ConfigError: Columns of the source and the prompt do not fit together.
        RunError: The reason to stop, where it comes while the source is being listed.
    """
    return freeze_run(services, Pending(services), now=now, token=token)


def freeze_run(services: BaseServices, work: Work, *, now: datetime, token: str) -> Run:
    """As `plan_run`, for any work."""
    results = services.results
    going_on = unfinished(results, work)
    if going_on is not None:
        run_id, items, resumed = going_on, results.item_count(going_on), True
    elif not services.begins:
        run_id, items, resumed = "", 0, False
    else:
        run_id, items, resumed = _run_id(results.run_ids(), now, token), 0, False
        batches = work.batches()
        first = next(batches, None)
        if first is not None:
            items = results.freeze(
                run_id,
                itertools.chain([first], batches),
                schema=first.schema,
                shard_size=services.chunks.shard_size(services.config.output.shard_size),
            )
            results.write_run(run_id, _begun(services, run_id, work, now) | {"items": items})
        services.progress.skipped = work.skipped()
    services.progress.begin(items)
    if not items:
        return Run(run_id, items=0, shard_rows=(), pending=(), resumed=resumed)
    rows = tuple(results.shard_rows(run_id))
    finished = results.finished_shards(run_id)
    left = tuple(shard for shard in range(len(rows)) if shard not in finished)
    return Run(run_id, items=items, shard_rows=rows, pending=left, resumed=resumed)


class Pending:
    """The source's items that need work.

    Attributes:
        identity: As in `Work`, and so are the others.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self.identity = _identity(services)
        # What runs since then have answered is not asked again; a fresh one asks whatever they say,
        # and only the run that was cut off may use what it has paid for.
        self.is_overtaken = services.selection.looks_back and not services.fresh
        self.facts: Mapping[str, Any] = {
            "selection": services.selection.told(),
            "abilities": services.abilities,
        }
        self._choice: Choice | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches with fingerprints; iterating counts what is left alone.

        Raises:
            SourceError: The source cannot be listed, or holds no image.
            ConfigError: A variable of the prompt is missing, or a name would stand twice in the
                table.
        """
        batches = self._services.source.batches()
        first = next(batches, None)
        if first is None:
            source = self._services.config.source
            told = ", ".join(f"{count} {why}" for why, count in self.skipped().items())
            passed_over = f" (passed over: {told})" if told else ""
            hint = ""
            if self.skipped().get("archive"):
                hint = "; to read archives, name them: source.path: FOLDER/*.tar or FOLDER/*.zip"
            raise SourceError(f"{source.path or source.manifest}: no images{passed_over}{hint}")
        check_columns(self._services.question.template, first.schema.names)
        self._choice = Choice(self._services, first.schema)
        for batch in self._limited(itertools.chain([first], batches)):
            work = self._choice.of(batch)
            if work.num_rows:
                yield work

    def skipped(self) -> dict[str, int]:
        """How many files of the source are no items, by reason; whole after the last batch."""
        counts = Counter(self._services.source.counts)
        if self._choice is not None:
            counts.update(self._choice.skipped())
        return {why: count for why, count in counts.items() if count}

    def _limited(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        cuts = (self._services.limit, self._services.selection.stop)
        left = min((each for each in cuts if each is not None), default=None)
        for batch in batches:
            if self._services.stop.cause is not None:  # raised while the source is being listed
                raise self._services.stop.cause
            if left is None:
                yield batch
                continue
            yield batch.slice(0, left)
            left -= batch.num_rows
            if left <= 0:
                return


def check_columns(template: PromptTemplate, names: Sequence[str]) -> None:
    """See that items of these columns can be asked about, and their answers stand beside them.

    Raises:
        ConfigError: A variable of the prompt is missing, or a name would stand twice in the table.
    """
    columns = [name for name in names if name not in OWN_COLUMNS]
    template.check_columns(columns)
    for name, _ in answer_columns(template):
        if name in RESERVED_COLUMNS or name in columns:
            whose = "a column of the pipeline" if name in RESERVED_COLUMNS else "a manifest column"
            raise ConfigError(
                f"{template.file}: schema.properties.{name}: is also {whose}; rename one of them"
            )


def unfinished(results: Results, work: Work) -> str | None:
    """The run to go on with: the newest one that does the same, if it was cut off."""
    for run_id in reversed(results.run_ids()):
        run = results.read_run(run_id)
        if run.get("identity") == work.identity:
            going_on = run.get("finished_at") is None and results.has_manifest(run_id)
            return run_id if going_on else None
        if work.is_overtaken:
            return None
    return None


def _identity(services: Services) -> str:
    # Limits, retries, budget and output may change between two attempts at the same run.
    config = services.config
    return identity_of(
        config.name,
        config.source.model_dump(mode="json"),
        services.question.sha256,
        services.fresh,
        *([] if services.selection.is_all else [services.selection.told()]),
    )


def identity_of(*parts: object) -> str:
    """A digest of all that tells one kind of work from another."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _run_id(earlier: list[str], now: datetime, token: str) -> str:
    # The order of the names is the order of the runs, also for runs within one second.
    stamp = now.strftime(RUN_ID_FORMAT)
    while earlier and stamp <= earlier[-1].partition("-")[0]:
        now += timedelta(seconds=1)
        stamp = now.strftime(RUN_ID_FORMAT)
    return f"{stamp}-{token}"


def _begun(services: BaseServices, run_id: str, work: Work, now: datetime) -> dict[str, Any]:
    question = services.question
    return {
        "run_id": run_id,
        "identity": work.identity,
        "started_at": now.isoformat(),
        "finished_at": None,
        "config": services.config.model_dump(mode="json"),
        "prompt": {
            "name": question.template.name,
            "version": question.template.version,
            "sha256": question.template.sha256,
        },
        "question_sha256": question.sha256,
        "unshaped_sha256": question.unshaped_sha256,
        "reading": READING_VERSION,
        **work.facts,
    }
