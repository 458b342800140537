"""A row of the table as the page's script gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any

import orjson
import pyarrow as pa

from vision_pipeline.core.errors import ErrorCode
from vision_pipeline.core.records import ImageRef

MOST_CHARS = 20_000  # of one text; a page of thousands stays usable
_MOST_ELEMENTS = 200
_EXACT = 2**53  # JavaScript's numbers are doubles
_ANSWER = ("item_id", "status", "error_code", "error_detail", "reply_text", "image_uri", "images")
_ABOUT = (
    "image_format",
    "image_width_px",
    "image_height_px",
    "image_bytes",
    "image_note",
    "image_sha256",
    "sent_width_px",
    "sent_height_px",
    "sent_bytes",
    "provider",
    "model",
    "prompt",
    "prompt_version",
    "finish_reason",
    "attempts",
    "repaired",
    "from_ledger",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cost_usd",
    "queued_s",
    "latency_s",
    "answered_at",
    "run_id",
    "shard",
    "idempotency_key",
)
COLUMNS = (*_ANSWER, *_ABOUT)
MEANINGS = {code.value: code.meaning for code in ErrorCode}


def kind_of(of: pa.DataType) -> str:
    """How the page sorts and filters a column: `number`, `flag`, `time`, `text` or `nested`."""
    if pa.types.is_boolean(of):
        return "flag"
    if pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of):
        return "number"
    if pa.types.is_temporal(of):
        return "time"
    return "nested" if pa.types.is_nested(of) else "text"


def entry(
    row: Mapping[str, Any], fields: Iterable[str], images: list[tuple[ImageRef, str]]
) -> dict[str, Any]:
    """One item.

    Args:
        row: With `COLUMNS` and the fields.
        fields: Names of the columns that are not the pipeline's own.
        images: Each with the reason why it is not shown, or "".
    """
    code = row["error_code"]
    return {
        "id": row["item_id"],
        "ok": row["status"] == "ok",
        "code": code,
        "detail": _bounded(row["error_detail"]),
        "hint": MEANINGS.get(code),
        "values": [_value(row.get(name)) for name in fields],
        "about": {name: _value(row.get(name)) for name in _ABOUT if row.get(name) is not None},
        "reply": _bounded(row["reply_text"]),
        "images": [
            {"uri": _bounded(ref.uri), "page": ref.page, "why": _bounded(why)}
            for ref, why in images
        ],
    }


def as_json(document: object) -> bytes:
    """JSON that may stand in a script element, whatever it holds."""
    options = orjson.OPT_NON_STR_KEYS
    return orjson.dumps(document, default=str, option=options).replace(b"<", b"\\u003c")


def _value(value: Any) -> Any:  # noqa: ANN401  (any cell)
    if isinstance(value, list):
        return [_value(each) for each in value[:_MOST_ELEMENTS]]
    if isinstance(value, dict):
        return {name: _value(each) for name, each in value.items()}
    convert = _CONVERT.get(type(value))
    return convert(value) if convert else value


def _exact(value: int) -> int | str:
    return value if abs(value) <= _EXACT else str(value)


def _bounded(text: str | None) -> str | None:
    if text is None or len(text) <= MOST_CHARS:
        return text
    return f"{text[:MOST_CHARS]}… and {len(text) - MOST_CHARS} characters more"


_CONVERT: Mapping[type, Callable[[Any], Any]] = {
    str: _bounded,
    bytes: lambda value: f"{len(value)} bytes",
    int: _exact,
    datetime: lambda value: value.isoformat(timespec="seconds"),
    date: date.isoformat,
}
