"""From a refused request to what is done about it: one table of status, code and text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from vision_pipeline.core.errors import (
    AccessError,
    EndpointError,
    ErrorCode,
    ItemError,
    PipelineError,
    RetryableError,
)
from vision_pipeline.core.limits import RateHeaders
from vision_pipeline.core.protocol import excerpt

CAPACITY_CODE = "3505"  # "Service tier capacity exceeded": needs a longer pause than a rate limit
CAPACITY_PAUSE_S = 10.0

_TOO_LONG_TYPES = {"invalid_request_prompt_too_long", "context_length_exceeded"}
# Of what all requests of a run have in common: the schema, and which fields there are.
_FORM = re.compile(r"Grammar error|Extra inputs are not permitted|extra fields not permitted")
_UNKNOWN_MODEL = {"1500", "invalid_model", "3040", "model_not_found"}
_NO_QUOTA = "insufficient_quota"  # OpenAI's 429 for an empty account: no wait helps


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The parts of an error body, whichever of the five known shapes it has."""

    message: str
    type: str
    code: str


def read_error_body(body: bytes) -> ErrorBody:
    """Read what can be read; anything else becomes the message."""
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
    return ErrorBody(
        message=_flat(message),
        type=str(document.get("type") or ""),
        code=str(document.get("code") or ""),
    )


def refusal(status: int, body: bytes, *, rate: RateHeaders) -> PipelineError:
    """The error for a response that is no success.

    Args:
        status: HTTP status, not 200.
        body: Response body.
        rate: What the headers say about limits.
    """
    error = read_error_body(body)
    said = f"HTTP {status}: {error.message}" if error.message else f"HTTP {status}"
    if status == 429:  # noqa: PLR2004  (an HTTP status reads best as itself)
        return _rate_refusal(error, said, rate)
    if status in (401, 402, 403):
        return _access_refusal(status, error, said)
    if status in (408, 425, 499) or status >= 500:  # noqa: PLR2004
        return RetryableError(ErrorCode.MODEL_UNAVAILABLE, said, retry_after_s=rate.retry_after_s)
    if status == 413:  # noqa: PLR2004
        return ItemError(ErrorCode.IMAGE_TOO_LARGE, said)
    return _request_refusal(status, error, said)


def _rate_refusal(error: ErrorBody, said: str, rate: RateHeaders) -> PipelineError:
    if _NO_QUOTA in (error.type, error.code):
        return AccessError(f"the plan of this key is used up ({said})")
    if rate.forbidden:
        return AccessError(
            f"the plan of this key does not allow the model: its rate limit is 0 ({said})"
        )
    pause_s = rate.retry_after_s
    if pause_s is None and error.code == CAPACITY_CODE:
        pause_s = CAPACITY_PAUSE_S
    return RetryableError(ErrorCode.RATE_LIMITED, said, retry_after_s=pause_s, is_rate_limit=True)


def _access_refusal(status: int, error: ErrorBody, said: str) -> PipelineError:
    if status == 403 and ("guardrail" in error.type or "moderation" in error.type):  # noqa: PLR2004
        return ItemError(ErrorCode.CONTENT_FILTERED, said)
    return AccessError(f"the provider refuses the key or the plan ({said})")


def _request_refusal(status: int, error: ErrorBody, said: str) -> PipelineError:
    if {error.code, error.type} & _UNKNOWN_MODEL:
        return EndpointError(f"the server does not know the model ({said})")
    # Whatever the body says: servers have many words for a wrong address or a missing model, and
    # none of them answers so for one image.
    if status < 400 or status in (404, 405):  # noqa: PLR2004
        return EndpointError(
            f"no chat completions of this model here; check model.base_url and model.name ({said})"
        )
    if _FORM.search(error.message):
        return EndpointError(f"the server refuses the form of every request ({said})")
    if error.type == "content_filter" or error.code == "content_filter":
        return ItemError(ErrorCode.CONTENT_FILTERED, said)
    if error.type in _TOO_LONG_TYPES or error.code in _TOO_LONG_TYPES:
        return ItemError(ErrorCode.IMAGE_TOO_LARGE, said)
    return ItemError(ErrorCode.REFUSED_REQUEST, said)


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
