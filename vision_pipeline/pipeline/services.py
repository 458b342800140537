"""What the pipeline needs of the outside world, by protocol, and the record that carries it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from vision_pipeline.core.columns import ColumnType
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.models import Price
from vision_pipeline.core.protocol import BodyFormat
from vision_pipeline.core.question import Question
from vision_pipeline.core.records import (
    Amount,
    ImageRef,
    PreparedImage,
    ReceivedReply,
    Row,
    SourceImage,
    StoredReply,
)
from vision_pipeline.core.selection import ALL, Selection
from vision_pipeline.core.usage import Usage
from vision_pipeline.pipeline.batch_services import BatchServices, Journal
from vision_pipeline.pipeline.chunks import WHOLE, Chunks
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.stop import Stop


class Source(Protocol):
    """Lists the items of a run."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many files were passed over, by reason; whole after the last batch."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches of one schema: `item_id`, `images` and the manifest's columns."""


class ImageReader(Protocol):
    """Fetches the bytes of an image."""

    async def read(self, ref: ImageRef) -> SourceImage:
        """The encoded file; raises ItemError."""


class Preparer(Protocol):
    """Makes images fit for the model."""

    async def prepare(
        self, source: SourceImage, *, page: int | None, max_sent_bytes: int
    ) -> PreparedImage:
        """The image as it is sent; raises ItemError."""


class Model(Protocol):
    """Answers requests."""

    async def ask(self, body: bytes, *, estimated_tokens: int) -> ReceivedReply:
        """Send a request body until a reply comes; raises ItemError or RunError."""


class Ledger(Protocol):
    """Keeps every reply that was paid for."""

    async def recall(self, key: str) -> StoredReply | None:
        """The newest reply under that idempotency key, or None."""

    async def remember(self, key: str, reply: StoredReply, *, run_id: str) -> None:
        """Keep a reply; it is safe when this returns."""

    async def spent(self, run_id: str) -> Amount:
        """What the replies of that run took so far."""

    async def spent_since(self, moment: datetime) -> Amount:
        """What all replies took that were complete at a moment or later."""


class Results(Protocol):
    """Manifests, shards and run files."""

    def results_path(self) -> str:
        """Where the table is."""

    def run_ids(self) -> list[str]:
        """All runs, oldest first."""

    def read_run(self, run_id: str) -> dict[str, Any]:
        """A run file."""

    def write_run(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Write or replace a run file."""

    def freeze(
        self, run_id: str, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, shard_size: int
    ) -> int:
        """Write the manifest of a run; returns how many items it has."""

    def has_manifest(self, run_id: str) -> bool:
        """Whether the manifest of that run was frozen."""

    def item_count(self, run_id: str) -> int:
        """How many items the manifest of that run has."""

    def shard_rows(self, run_id: str) -> list[int]:
        """How many items each shard of that run has."""

    def shard_items(self, run_id: str, shard: int) -> pa.Table:
        """The manifest's rows of one shard."""

    def finished_shards(self, run_id: str) -> set[int]:
        """Shards whose result file is there."""

    def write_shard(
        self,
        run_id: str,
        shard: int,
        rows: Sequence[Row],
        *,
        answer_columns: Sequence[tuple[str, ColumnType]],
        items: pa.Table,
    ) -> None:
        """Write one shard of results."""

    def read_shard(self, run_id: str, shard: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of one finished shard."""

    def rows_of(self, run_id: str, shards: Collection[int]) -> pa.Table:
        """The rows of some finished shards, without the manifest's and the answer's columns."""


class History(Protocol):
    """What the rows of all runs say."""

    def settled(self, question_sha256: str, *, abilities: str) -> pa.Table:
        """Fingerprints, outcomes and image versions of items that need no work for a question."""

    def selected(self, selection: Selection) -> pa.StringArray:
        """Ids of the items whose latest answer, or error, is meant; raises ConfigError."""

    def usage(self, question: Question) -> Usage:
        """What the replies to a question took, or else those to its prompt."""

    def earlier(self, questions: Collection[str], *, settled_in: Collection[str]) -> Earlier:
        """Each item by its latest row among those of some questions."""


class Earlier(Protocol):
    """Items of earlier runs, each as the manifest lists it that its row comes from.

    Attributes:
        replied: Items whose row has a reply.
        unreplied: Items whose row is an error before any reply.
        answered: Items that a run of `settled_in` has answered; they are not listed.
        failed: Items that failed there; neither are they.
        others: Items that have no row of these questions.
    """

    replied: int
    unreplied: int
    answered: int
    failed: int
    others: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The listed items, in one schema; `ORIGIN` tells where the row of each is."""


# In a manifest of items of earlier runs: where the row is that an item is about.
ORIGIN = pa.field("_origin", pa.struct([("run_id", pa.string()), ("shard", pa.int32())]))


def tell_nobody(_told: object) -> None:
    """Where nobody is there to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseServices:
    """What every kind of run shares, opened once.

    Attributes:
        stop: Asks everything to end.
        abilities: What decides whether an item fails before any call: decoders and limits. A
            permanent failure under others is tried again.
        announce: Tells other commands which run is worked on.
        chunks: How much is worked on at a time.
        begins: Whether a new run may begin; else one that was cut off is gone on with, or none is.
    """

    config: RunConfig
    question: Question
    price: Price | None
    ledger: Ledger
    results: Results
    history: History
    progress: Progress
    stop: Stop
    abilities: str = ""
    announce: Callable[[str], None] = tell_nobody
    chunks: Chunks = WHOLE
    begins: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Services(BaseServices):
    """Everything that a run shares that asks a model.

    Attributes:
        is_changed: Of known versions of images on the web or in stores, which ones were replaced;
            blocks, for threads; None where nobody is asked.
        slots: How many items are worked on at once, shards together; bounds memory.
        preparing: How many images are read and prepared at once; bounds memory.
        max_images: The most images that the model takes in one request.
        max_image_bytes: The most bytes that it takes for one image, before base64.
        max_request_bytes: The most that it takes for all images of a request, before base64.
        context_tokens: The most that it takes for input and answer together, or None.
        fresh: Ask everything again: neither rows nor stored replies are reused.
        selection: Which items of the source the run is about. With error codes, it asks again where
            a stored reply brings the error back.
        say: Hears which items a selection comes to, before they are asked about.
        grace_s: How long requests on the wire may take to finish once the run stops.
        batch: How requests go to the provider's Batch API; None where they are asked at once.
        journal: Which requests of which runs are with a Batch API; None where none can be.
    """

    body_format: BodyFormat
    source: Source
    images: ImageReader
    preparer: Preparer
    model: Model
    slots: asyncio.Semaphore
    preparing: asyncio.Semaphore
    is_changed: Callable[[Sequence[tuple[str, str]]], list[bool]] | None = None
    max_images: int = 8
    max_image_bytes: int = 10 * 1024 * 1024
    max_request_bytes: int = 40_000_000
    context_tokens: int | None = None
    fresh: bool = False
    selection: Selection = ALL
    say: Callable[[str], None] = tell_nobody
    grace_s: float = 20.0
    batch: BatchServices | None = None
    journal: Journal | None = None

    @property
    def limit(self) -> int | None:
        """The most items of the source that it looks at; a retry takes errors wherever they are."""
        return None if self.selection.codes else self.config.source.limit
