"""Stand-ins as strict as the real thing, for tests without network."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import orjson
import pyarrow as pa

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.records import (
    Amount,
    ImageRef,
    PreparedImage,
    ReceivedReply,
    SourceImage,
    StoredReply,
)

IMAGES = pa.list_(
    pa.struct(
        [
            ("uri", pa.string()),
            ("size_bytes", pa.int64()),
            ("version", pa.string()),
            ("page", pa.int32()),
            ("offset_bytes", pa.int64()),
        ]
    )
)


class ListSource:
    """A source of named images, with columns."""

    def __init__(self, names: list[str], **columns: list[object]) -> None:
        self.names, self.columns = list(names), columns
        self.versions: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def batches(self) -> Iterator[pa.RecordBatch]:
        refs = [
            [{"uri": name, "size_bytes": 1, "version": self.versions.get(name, "1")}]
            for name in self.names
        ]
        data = {"item_id": self.names, "images": pa.array(refs, IMAGES)} | self.columns
        if self.names:
            yield pa.RecordBatch.from_pydict(data)


class MemoryImages:
    """Images by uri; their bytes are their content's name unless told otherwise."""

    def __init__(self, **contents: bytes) -> None:
        self.contents = contents
        self.read_uris: list[str] = []

    async def read(self, ref: ImageRef) -> SourceImage:
        self.read_uris.append(ref.uri)
        if ref.uri.startswith("missing"):
            raise ItemError(ErrorCode.SOURCE_MISSING, f"{ref.uri}: no such file")
        return SourceImage(self.contents.get(ref.uri, ref.uri.encode()), ref.version)


class TextPreparer:
    """Takes any bytes for an image of 28 px, except those that begin `bad`."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, int | None, int]] = []

    async def prepare(
        self, source: SourceImage, *, page: int | None, max_sent_bytes: int
    ) -> PreparedImage:
        data = source.data
        self.asked.append((data, page, max_sent_bytes))
        if data.startswith(b"bad"):
            raise ItemError(ErrorCode.UNREADABLE_IMAGE, "not an image")
        sha = f"sha-{data.decode()}"
        sizes = {"source_width_px": 28, "source_height_px": 28, "width_px": 28, "height_px": 28}
        return PreparedImage(
            source_sha256=sha,
            source_bytes=len(data),
            source_format="PNG",
            media_type="image/png",
            data=data,
            page=page,
            version=source.version,
            **sizes,
        )


def completion(content: object, *, finish_reason: str = "stop", model: str = "m") -> bytes:
    """The body of a chat completion of 100 and 10 tokens."""
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return orjson.dumps({"model": model, "choices": [choice], "usage": usage})


Script = Callable[[dict[str, object]], object]


class ScriptedModel:
    """Answers with what the script makes of a request's body; remembers what it was asked.

    The script gives a message's content, a whole body as bytes, or an exception to raise. Without
    one, any call fails the test.
    """

    def __init__(self, script: Script | None = None) -> None:
        self._script = script
        self.asked: list[dict[str, object]] = []
        self.hold: asyncio.Event | None = None
        self._asked_again = asyncio.Condition()

    async def was_asked(self, times: int) -> None:
        async with self._asked_again:
            await self._asked_again.wait_for(lambda: len(self.asked) >= times)

    async def ask(self, body: bytes, *, estimated_tokens: int) -> ReceivedReply:
        assert estimated_tokens > 0
        request = orjson.loads(body)
        async with self._asked_again:
            self.asked.append(request)
            self._asked_again.notify_all()
        assert self._script is not None, "a call that nobody expected"
        if self.hold is not None:
            await self.hold.wait()
        answer = self._script(request)
        if isinstance(answer, BaseException):
            raise answer
        content = answer if isinstance(answer, bytes) else completion(answer)
        return ReceivedReply(content, 1, 0.0, 0.1, datetime(2026, 11, 22, tzinfo=UTC))


class MemoryLedger:
    """Replies in a list; the newest one of a key counts, and all were paid for."""

    def __init__(self) -> None:
        self.replies: list[tuple[str, str, StoredReply]] = []

    async def recall(self, key: str) -> StoredReply | None:
        return next((reply for k, _, reply in reversed(self.replies) if k == key), None)

    async def remember(self, key: str, reply: StoredReply, *, run_id: str) -> None:
        self.replies.append((key, run_id, reply))

    async def spent(self, run_id: str) -> Amount:
        return _total(reply for _, run, reply in self.replies if run == run_id)

    async def spent_since(self, moment: datetime) -> Amount:
        return _total(each for _, _, each in self.replies if each.received.answered_at >= moment)


def _total(replies: Iterable[StoredReply]) -> Amount:
    amounts = (Amount(reply.cost_usd or 0.0, reply.tokens or 0) for reply in replies)
    return sum(amounts, Amount())
