"""What the body of a refused request says, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from vision_pipeline.core.protocol import excerpt


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The parts of an error body, whichever of the five known shapes it has."""

    message: str
    type: str
    code: str


def read_error_body(body: bytes) -> ErrorBody:
    """Read what can be read; anything else becomes the message. Never fails."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ErrorBody(message=excerpt(body), type="", code="")
    if not isinstance(document, dict):
        return ErrorBody(message=excerpt(body), type="", code="")
    inner = document.get("error")
    if isinstance(inner, dict):
        document = inner
    message = document.get("message") or document.get("detail") or inner or document
    try:
        text = _flat(message)
    except (orjson.JSONEncodeError, RecursionError):
        text = excerpt(body)  # nested too deep to be written again, though not to be read
    return ErrorBody(text, type=_mark(document.get("type")), code=_mark(document.get("code")))


def _mark(value: object) -> str:
    return str(value) if value and isinstance(value, str | int) else ""


def _flat(message: Any) -> str:  # noqa: ANN401  (any JSON)
    if isinstance(message, str):
        return excerpt(message.encode())
    if isinstance(message, dict) and set(message) == {"detail"}:
        message = message["detail"]
    if isinstance(message, list):
        return excerpt("; ".join(_fault(fault) for fault in message).encode())
    return excerpt(orjson.dumps(message))


def _fault(fault: Any) -> str:  # noqa: ANN401  (any JSON)
    if not isinstance(fault, dict):
        return str(fault)
    place = fault.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else ""
    return f"{where}: {fault.get('msg', fault)}" if where else str(fault.get("msg", fault))
