"""The error tree, filed by what is done about an error.

PipelineError
├── RunError               stop: no other item can succeed
│   ├── ConfigError          exit 2: names file, key, value and what is allowed
│   ├── SourceError          exit 2: the source cannot be listed
│   ├── OutputError          exit 2: the output cannot be written or read
│   ├── StorageError         exit 3: disk or ledger failed in mid-run; resumable once mended
│   ├── BusyError            exit 3: another command holds the output; this one, later, can go on
│   ├── StoppedError         exit 3: asked to stop by a signal or a cancelled flow
│   ├── WaitingError         exit 3: batch jobs are under way; the same command collects them
│   ├── BudgetError          exit 3: the next request could exceed the budget
│   ├── AccessError          exit 3: the key or the plan is refused; resumable with another
│   ├── EndpointError        exit 3: the server cannot be reached at all; resumable when it can
│   │   └── NoBatchApiError    it has no Batch API
│   ├── QueueError           exit 3: the provider's queue of batch requests is full; later it is not
│   ├── GoneError            exit 3: the provider no longer has a file or a batch job
│   ├── RefusedFileError     exit 3: the provider takes no such file; names the lines at fault
│   └── WorkersError         exit 3: the processes that work for a run cannot be reached, or end
├── ItemError              give this item up: an error row with a stable `code`
├── QuotaServerError       the server of a shared quota is away; the run goes on at its share
└── RetryableError         ask again later; never leaves the adapter that asks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """Why an item has no answer. The values are stable: users filter tables by them."""

    SOURCE_MISSING = "source_missing"
    UNREADABLE_IMAGE = "unreadable_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_COUNT = "image_count"
    UNRENDERED_PROMPT = "unrendered_prompt"
    BLOCKED_URL = "blocked_url"
    REFUSED_REQUEST = "refused_request"
    CONTENT_FILTERED = "content_filtered"
    TRUNCATED_ANSWER = "truncated_answer"
    INVALID_ANSWER = "invalid_answer"
    RATE_LIMITED = "rate_limited"
    MODEL_UNAVAILABLE = "model_unavailable"
    TIMEOUT = "timeout"

    @property
    def is_transient(self) -> bool:
        """Whether the next run tries the item again although nothing about it changed."""
        return self in _TRANSIENT

    @property
    def is_of_image(self) -> bool:
        """Whether it tells of an image's bytes, so that other bytes may have an answer."""
        return self in _OF_IMAGES

    @property
    def meaning(self) -> str:
        """One line for a person: the cause, and what to do."""
        return _MEANINGS[self]


_TRANSIENT = frozenset(
    {
        ErrorCode.SOURCE_MISSING,
        ErrorCode.RATE_LIMITED,
        ErrorCode.MODEL_UNAVAILABLE,
        ErrorCode.TIMEOUT,
    }
)

_OF_IMAGES = frozenset(
    {ErrorCode.UNREADABLE_IMAGE, ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.IMAGE_TOO_LARGE}
)

_MEANINGS = {
    ErrorCode.SOURCE_MISSING: "the file or URL is not there; restore it and run again",
    ErrorCode.UNREADABLE_IMAGE: "the bytes are damaged or no image; replace the file",
    ErrorCode.UNSUPPORTED_FORMAT: "not decoded here; convert the file, or install its decoder",
    ErrorCode.IMAGE_TOO_LARGE: "over a limit of bytes, pixels or time; shrink it or raise it",
    ErrorCode.IMAGE_COUNT: "more or fewer images than the prompt or the model takes at once",
    ErrorCode.UNRENDERED_PROMPT: "the prompt's text fails on this item's columns",
    ErrorCode.BLOCKED_URL: "a private address, unless source.allow_private_urls is true",
    ErrorCode.REFUSED_REQUEST: "the provider refused the request; see error_detail",
    ErrorCode.CONTENT_FILTERED: "the provider's content filter stopped the request or the answer",
    ErrorCode.TRUNCATED_ANSWER: "the answer reached max_tokens; raise model.max_tokens",
    ErrorCode.INVALID_ANSWER: "the answer does not fit the schema, nor did the repaired one",
    ErrorCode.RATE_LIMITED: "refused by the rate limit to the end; run again",
    ErrorCode.MODEL_UNAVAILABLE: "the provider failed to the end; run again",
    ErrorCode.TIMEOUT: "no reply in time, to the end; run again",
}


class PipelineError(Exception):
    """Base of every error that this product raises on purpose."""


class RunError(PipelineError):
    """No other item can succeed: the run stops, and what it has is kept."""

    exit_code = 3


class ConfigError(RunError):
    """The user's configuration, prompt or arguments cannot be used."""

    exit_code = 2


class SourceError(RunError):
    """The images or the manifest cannot be listed."""

    exit_code = 2


class OutputError(RunError):
    """The output folder cannot be written or read."""

    exit_code = 2


class StorageError(RunError):
    """The disk or the ledger failed in mid-run, for example because it is full."""


class BusyError(RunError):
    """Another command writes into the output folder."""


class StoppedError(RunError):
    """Somebody asked the run to stop."""


class WaitingError(RunError):
    """Batch jobs are under way, and nobody waits for them here any longer.

    Args:
        run_id: Whose jobs.
        jobs: How many of them are under way.
        requests: In these.
        completed: Of the requests.
    """

    def __init__(self, run_id: str, *, jobs: int, requests: int, completed: int) -> None:
        self.counts = {"jobs": jobs, "requests": requests, "completed": completed}
        self.run_id = run_id
        super().__init__(f"{jobs_told(self.counts)}; the same command goes on")


def jobs_told(counts: Mapping[str, int]) -> str:
    """How many batch jobs are under way, with how much of their work done, in words."""
    noun = "job is" if counts["jobs"] == 1 else "jobs are"
    return (
        f"{counts['jobs']:,} batch {noun} under way, "
        f"{counts['completed']:,} of {counts['requests']:,} requests done"
    )


class BudgetError(RunError):
    """The next request could exceed the budget."""


class AccessError(RunError):
    """The provider refuses the key, or the plan does not allow the model."""


class EndpointError(RunError):
    """The server cannot be reached, or it is not the API that was expected."""


class NoBatchApiError(EndpointError):
    """The server has no Batch API: nothing was made there."""


class QueueError(RunError):
    """The provider takes no more batch requests for now: as many wait as may wait at once.

    Nothing was made; it can be tried again when some have been answered.
    """


class GoneError(RunError):
    """The provider has no such file or batch job: deleted, expired, or of another key."""


@dataclass(frozen=True, slots=True)
class LineFault:
    """What is wrong with a line of a file that the provider refused.

    Attributes:
        number: Of the line, from 1.
        custom_id: The line's mark; empty if it cannot be read.
        message: The provider's words.
    """

    number: int
    custom_id: str
    message: str


class RefusedFileError(RunError):
    """The provider takes no such input file; nothing was kept of it.

    Args:
        message: For a person.
        faults: The lines at fault, as far as the provider names them; the others may be good.
    """

    def __init__(self, message: str, faults: tuple[LineFault, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class WorkersError(RunError):
    """The processes that work for a run cannot be reached, or one after the other ended."""


class QuotaServerError(PipelineError):
    """The server of a shared quota gives nothing at the moment; the run goes on at its share."""


class ItemError(PipelineError):
    """One item is given up; the run goes on.

    Args:
        code: Why.
        detail: The cause, without keys or image bytes.
        version: Of the image that could not be read, as in `SourceImage`, where it is known.
    """

    def __init__(self, code: ErrorCode, detail: str, *, version: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.version = version


class RetryableError(PipelineError):
    """The same request may succeed later.

    Args:
        code: What the item's row says if no later attempt succeeds.
        detail: The cause, without keys or image bytes.
        retry_after_s: The wait that the server asked for, or None.
        is_rate_limit: A refusal by rate limit, which uses up no attempt.
        is_full: Of such a refusal, whether the server is full, whatever the quota.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        retry_after_s: float | None = None,
        is_rate_limit: bool = False,
        is_full: bool = False,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.is_rate_limit = is_rate_limit
        self.is_full = is_full
