"""From a call of a Batch API that failed to what is done about it: the first row that fits."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

import orjson

from vision_pipeline.core.error_bodies import ErrorBody, read_error_body
from vision_pipeline.core.errors import (
    AccessError,
    ConfigError,
    EndpointError,
    ErrorCode,
    GoneError,
    LineFault,
    NoBatchApiError,
    PipelineError,
    QueueError,
    RefusedFileError,
    RetryableError,
)
from vision_pipeline.core.protocol import excerpt
from vision_pipeline.core.rate_headers import RateHeaders

REGIONAL_HOSTS = ("api.eu.mistral.ai", "api.us.mistral.ai")
MOST_FAULTS = 1000  # of a refused file: more are not worth their memory
_TOLD_FAULTS = 3
_TOO_MANY = 429


class Call(StrEnum):
    """What was asked of a Batch API, as messages name it."""

    UPLOAD = "uploading a file"
    LIST = "listing"
    CREATE = "making a batch job"
    LOOK = "looking at a batch job"
    CANCEL = "cancelling a batch job"
    DOWNLOAD = "downloading results"
    DELETE = "deleting a file"


_ALL_CALLS = frozenset(Call)
_ANY = range(1000)
_SERVER = range(500, 1000)
_ANYTHING = re.compile("")
_FULL = (
    "the provider takes no more batch requests until some of those waiting are answered; nothing "
    "is lost: the same command goes on later"
)
_NO_API = "no Batch API here; ask in real time, or check model.base_url"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table.

    Attributes:
        on: HTTP statuses.
        error: What is raised.
        words: What a person is told, before what the server said.
        calls: What was asked.
        marks: What the body's code or type must be, as a whole.
        says: What must be found in its message.
    """

    on: Container[int]
    error: type[PipelineError]
    words: str = ""
    calls: Container[Call] = _ALL_CALLS
    marks: re.Pattern[str] | None = None
    says: re.Pattern[str] = _ANYTHING

    def fits(self, call: Call, status: int, told: ErrorBody) -> bool:
        """Whether this row is about such an answer."""
        return (
            status in self.on
            and call in self.calls
            and (self.marks is None or any(map(self.marks.fullmatch, (told.code, told.type))))
            and self.says.search(told.message) is not None
        )


RULES: tuple[Rule, ...] = (
    # The plan, the queue and the key.
    Rule(
        _ANY,
        AccessError,
        "the plan of this key is used up",
        marks=re.compile("insufficient_quota|billing_not_active"),
    ),
    # No provider documents this answer; the words are those of what is said elsewhere.
    Rule(
        range(400, 500),
        QueueError,
        _FULL,
        calls={Call.CREATE},
        says=re.compile(
            r"(?is)(?=.*\b(pending|enqueued|queued?)\b)"
            r"(?=.*\b(limit|quota|exceed\w*|maximum|too many)\b)"
        ),
    ),
    Rule({401, 402, 403}, AccessError, "the provider refuses the key or the plan"),
    # What is not there.
    Rule({404, 405, 501}, NoBatchApiError, _NO_API, calls={Call.UPLOAD, Call.LIST}),
    Rule({404, 405, 501}, NoBatchApiError, _NO_API, says=re.compile("(?i)no route")),
    Rule({404, 410}, GoneError, "the provider does not have it, or no longer"),
    # What passes.
    Rule({408, 425, 429, 499}, RetryableError),
    Rule(_SERVER, RetryableError),
    # What does not.
    Rule({413}, RefusedFileError, "the provider takes no input of that size"),
    Rule(_ANY, RefusedFileError, "the provider takes no such file", calls={Call.UPLOAD}),
    Rule(
        _ANY,
        EndpointError,
        "the provider has no such model, or not for this key; check model.name",
        calls={Call.CREATE},
        marks=re.compile("1500|invalid_model|3040|model_not_found"),
    ),
    Rule(
        _ANY,
        EndpointError,
        "the provider has no such model, or not for this key; check model.name",
        calls={Call.CREATE},
        says=re.compile(r"(?is)\bmodel\b.*\b(not|invalid|unknown)\b|\binvalid model\b"),
    ),
)
LAST = Rule(_ANY, EndpointError, "the provider refuses the request")


def check_has_batches(base_url: str) -> None:
    """See that an address is not one of those known to have no Batch API.

    Raises:
        ConfigError: It is.
    """
    if urlsplit(base_url).hostname in REGIONAL_HOSTS:
        raise ConfigError(
            f"model.base_url: {base_url}: Mistral's regional endpoints have no Batch API; use "
            "https://api.mistral.ai/v1, or ask in real time"
        )


def batch_refusal(call: Call, status: int, body: bytes, *, rate: RateHeaders) -> PipelineError:
    """The error for a response that is no success.

    Args:
        call: What was asked.
        status: HTTP status, none of 200 to 299.
        body: Response body, the key taken out.
        rate: What the headers say about limits.

    Returns:
        A `RetryableError` where the same call may succeed soon, else a `RunError`.
    """
    told = read_error_body(body)
    said = f"{call}: HTTP {status}: {told.message}".rstrip(": ")
    rule = next((rule for rule in RULES if rule.fits(call, status, told)), LAST)
    if rule.error is RetryableError:
        is_limit = status == _TOO_MANY
        return RetryableError(
            ErrorCode.RATE_LIMITED if is_limit else ErrorCode.MODEL_UNAVAILABLE,
            said,
            retry_after_s=rate.retry_after_s,
            is_rate_limit=is_limit,
        )
    if rule.error is RefusedFileError and (faults := _line_faults(body)):
        return refused_lines(faults)
    return rule.error(f"{rule.words} ({said})")


def queue_full(said: str) -> QueueError:
    """That no more jobs are taken for now."""
    return QueueError(f"{_FULL} ({said})")


def refused_lines(faults: tuple[LineFault, ...]) -> RefusedFileError:
    """That a file has lines that the provider does not take, told of by the first few."""
    told = "; ".join(_told(fault) for fault in faults[:_TOLD_FAULTS])
    more = f"; and {len(faults) - _TOLD_FAULTS} more" if len(faults) > _TOLD_FAULTS else ""
    return RefusedFileError(
        f"the provider refuses the whole file for {len(faults)} of its lines: {told}{more}", faults
    )


def _told(fault: LineFault) -> str:
    mark = f" ({fault.custom_id})" if fault.custom_id else ""
    return f"line {fault.number}{mark}: {fault.message}"


def _line_faults(body: bytes) -> tuple[LineFault, ...]:
    try:
        errors = orjson.loads(body)["errors"][:MOST_FAULTS]
        return tuple(
            LineFault(int(each["line_number"]), "", excerpt(str(each["message"]).encode()))
            for each in errors
        )
    except (ValueError, LookupError, TypeError):
        return ()
