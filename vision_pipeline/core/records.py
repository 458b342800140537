"""The nouns, in the order in which they flow: reference, prepared image, request, reply, row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Mode = Literal["realtime", "batch"]  # how a reply was asked for: at once, or in a batch job


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where an image is, and what tells a changed one from the same one without reading it.

    Attributes:
        uri: Local path, URL that fsspec knows, `https` URL, `data:` URL, or that of a member of a
            container (`core/members.py`).
        size_bytes: Size of the encoded file, or None where the source does not say.
        version: Modification time in ns, ETag, or "" where the source has none.
        page: Of a document of several pages, which one, from 1; None for a file that is one image.
        offset_bytes: Where a tar member's content begins in its archive, or None.
    """

    uri: str
    size_bytes: int | None = None
    version: str = ""
    page: int | None = None
    offset_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An encoded image as it was read.

    Attributes:
        data: The file, whatever it claims to be.
        version: The ETag or time of change that the server sent with it, else the reference's own.
    """

    data: bytes = field(repr=False)
    version: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One request's worth of images: a single image, or a group.

    Attributes:
        item_id: Unique within a run and stable between runs.
        images: At least one.
        columns: The manifest's other columns, by name; template variables and pass-through.
    """

    item_id: str
    images: tuple[ImageRef, ...]
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image as it goes to the model, and what it was before.

    Attributes:
        source_sha256: Hex digest of the encoded source file.
        source_bytes: Its size.
        source_format: Its format as found in its content, such as `JPEG`.
        source_width_px: Upright width of the source.
        source_height_px: Upright height of the source.
        media_type: `image/jpeg`, `image/png`, `image/webp` or `image/gif`.
        data: The encoded bytes to send.
        width_px: Width of what is sent.
        height_px: Height of what is sent.
        page: Which page of a document it shows, from 1, or None.
        note: What of the source it does not show, such as `first frame of an animation`, or "".
        version: As in `SourceImage`.
    """

    source_sha256: str
    source_bytes: int
    source_format: str
    source_width_px: int
    source_height_px: int
    media_type: str
    data: bytes = field(repr=False)
    width_px: int
    height_px: int
    page: int | None = None
    note: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class LinkedImage:
    """An image that the provider fetches itself from a public URL; nothing of it is known here."""

    url: str


@dataclass(frozen=True, slots=True)
class UnpreparedImage:
    """What is known of an image that could not be read or prepared.

    Attributes:
        source_sha256: Hex digest of the encoded file, or None where it was not read whole.
        source_bytes: Its size, or None likewise.
        version: As in `SourceImage`.
    """

    source_sha256: str | None = None
    source_bytes: int | None = None
    version: str = ""


VisionImage = PreparedImage | LinkedImage
SeenImage = VisionImage | UnpreparedImage


@dataclass(frozen=True, slots=True)
class Turn:
    """A finished exchange that a repair request repeats: what the model said, what we complain."""

    reply_text: str
    complaint: str


@dataclass(frozen=True, slots=True)
class VisionRequest:
    """One question to the model; `idempotency_key` is a digest of all that changes the answer."""

    idempotency_key: str
    system: str | None
    text: str
    images: tuple[VisionImage, ...]
    estimated_tokens: int
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class VisionReply:
    """What came back and was paid for.

    Attributes:
        text: The text parts of the message joined, or None where the model gave none.
        finish_reason: As the provider said it: `stop`, `length`, …
        model: The model that the provider says answered.
        prompt_tokens: Input tokens, image tokens among them, cached ones too.
        completion_tokens: Output tokens.
        cached_tokens: The part of `prompt_tokens` billed at the cached price.
    """

    text: str | None
    finish_reason: str | None
    model: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int

    @property
    def tokens(self) -> int | None:
        """Input and output together, or None where the provider did not count them."""
        return self.prompt_tokens + self.completion_tokens or None


@dataclass(frozen=True, slots=True)
class ReceivedReply:
    """A reply as it came off the wire.

    Attributes:
        body: The response body, byte for byte.
        attempts: Requests sent until this reply came, refusals by rate limit not counted.
        queued_s: Seconds between readiness and the request that succeeded: limiter and back-off.
        latency_s: Seconds from that request to its complete reply.
        answered_at: When the reply was complete, UTC.
        mode: How it was asked for.
    """

    body: bytes = field(repr=False)
    attempts: int
    queued_s: float
    latency_s: float
    answered_at: datetime
    mode: Mode = "realtime"


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A reply as the ledger keeps it.

    Attributes:
        received: The reply and its circumstances.
        paid_by: `run_id/item_id` of the row that carries its cost.
        cost_usd: List price when it came, or None for a model without one.
        tokens: Input and output that count in budgets, or None where nobody knows; 0 of a copy
            that cost nothing.
    """

    received: ReceivedReply
    paid_by: str
    cost_usd: float | None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """What replies take: money and tokens."""

    usd: float = 0.0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.usd + other.usd, self.tokens + other.tokens)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.usd - other.usd, self.tokens - other.tokens)

    def __mul__(self, factor: float) -> Amount:
        return Amount(self.usd * factor, math.ceil(self.tokens * factor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The outcome of one item: the answer, or the reason why there is none. Exactly one per item.

    Field names are the result table's column names; `answer` is spread over the columns that the
    prompt's schema names, and the manifest's own columns are joined when the shard is written.
    """

    item_id: str
    image_uri: str
    image_sha256: str | None = None
    image_bytes: int | None = None
    image_format: str | None = None
    image_width_px: int | None = None
    image_height_px: int | None = None
    image_note: str | None = None
    image_version: str | None = None
    sent_width_px: int | None = None
    sent_height_px: int | None = None
    sent_bytes: int | None = None
    images: tuple[Mapping[str, Any], ...] = ()
    status: Literal["ok", "error"]
    error_code: str | None = None
    error_detail: str | None = None
    reply_text: str | None = None
    finish_reason: str | None = None
    attempts: int = 0
    repaired: bool = False
    provider: str
    model: str
    prompt: str
    prompt_version: str
    question_sha256: str
    idempotency_key: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    estimated_tokens: int | None = None
    cost_usd: float | None = None
    mode: Mode | None = None
    from_ledger: bool = False
    queued_s: float | None = None
    latency_s: float | None = None
    answered_at: datetime | None = None
    run_id: str
    shard: int
    answer: Mapping[str, Any] | None = None


RESERVED_COLUMNS = tuple(name for name in Row.__dataclass_fields__ if name != "answer")
