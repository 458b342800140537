"""Batches on the wire: Mistral's form, and OpenAI's.

Sources: Mistral's OpenAPI file of 2026-08-13 and answers recorded since; OpenAI's API reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from vision_pipeline.core.batch import ENDPOINT, BatchForm, Document, Job, JobState
from vision_pipeline.core.protocol import BrokenReplyError, excerpt

MIB = 1024 * 1024
_PAGE = 100
_OPENAI_FILES_PAGE = 10_000
_MOST_CAUSES = 5  # of a job, in words
_QUEUE_FULL = re.compile("token_limit_exceeded|request_limit_exceeded|rate_limit_exceeded")


class MistralForm:
    """Mistral's jobs: one model each, over files or over requests that they carry."""

    name = "Mistral"
    jobs_path = "batch/jobs"
    has_inline = True
    max_file_bytes = 512 * MIB
    max_requests = 100_000  # its pages say that, and a million in another place
    max_inline_requests = 10_000

    def input_line(self, custom_id: str, body: bytes) -> bytes:
        """A line of an input file; a model in the body is ignored."""
        return b'{"custom_id":' + orjson.dumps(custom_id) + b',"body":' + body + b"}\n"

    def creation(
        self, *, file_id: str, model: str, metadata: Mapping[str, str], timeout_h: int
    ) -> bytes:
        """The order of a job over an uploaded file, JSON."""
        return _order(model, metadata, timeout_h, input_files=[file_id])

    def inline_creation(
        self, lines: Sequence[bytes], *, model: str, metadata: Mapping[str, str], timeout_h: int
    ) -> bytes:
        """The order of a job that carries its lines, JSON."""
        requests = [orjson.Fragment(line.rstrip(b"\n")) for line in lines]
        return _order(model, metadata, timeout_h, requests=requests)

    def read_job(self, document: Any) -> Job:  # noqa: ANN401  (any JSON)
        """A job out of an answer.

        Raises:
            BrokenReplyError: It is none.
        """
        try:
            return Job(
                id=_id(document),
                state=_MISTRAL_STATES.get(document["status"], JobState.RUNNING),
                total=_count(document.get("total_requests")),
                completed=_count(document.get("completed_requests")),
                failed=_count(document.get("failed_requests")),
                result_files=_ids(document.get("output_file"), document.get("error_file")),
                cause=_told(map(_counted, document.get("errors") or ())),
                metadata=_texts(document.get("metadata")),
                created_at=_moment(document.get("created_at")),
                ended_at=_moment(document.get("completed_at")),
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise _no_job(document) from error

    def files_query(self, name: str) -> Mapping[str, str]:
        """Pages of uploads whose names hold that one."""
        return {
            "purpose": "batch",
            "source": "upload",
            "search": name,
            "page": "0",
            "page_size": str(_PAGE),
        }

    def jobs_query(self, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """Pages of jobs, filtered as the vendor's own client asks for it."""
        asked = {key: value for key, value in metadata.items() if key not in _MISTRAL_FILTERS}
        return {**asked, "order_by": "-created", "page": "0", "page_size": str(_PAGE)}

    def next_page(self, query: Mapping[str, str], page: Document) -> Mapping[str, str] | None:
        """By number, from 0; a page that is not full is the last."""
        if len(page["data"]) < _PAGE:
            return None
        return {**query, "page": str(int(query["page"]) + 1)}


class OpenAiForm:
    """OpenAI's jobs: over one file, within 24 hours; each line names its model."""

    name = "OpenAI"
    jobs_path = "batches"
    has_inline = False
    max_file_bytes = 200 * MIB
    max_requests = 50_000
    max_inline_requests = 0

    def input_line(self, custom_id: str, body: bytes) -> bytes:
        """A line of an input file; the body names the model."""
        return (
            b'{"custom_id":'
            + orjson.dumps(custom_id)
            + b',"method":"POST","url":"/v1/chat/completions","body":'
            + body
            + b"}\n"
        )

    def creation(
        self,
        *,
        file_id: str,
        model: str,  # noqa: ARG002  (stands in the lines)
        metadata: Mapping[str, str],
        timeout_h: int,  # noqa: ARG002  (there is one window)
    ) -> bytes:
        """The order of a job over an uploaded file, JSON."""
        return orjson.dumps(
            {
                "input_file_id": file_id,
                "endpoint": ENDPOINT,
                "completion_window": "24h",
                "metadata": dict(metadata),
            }
        )

    def inline_creation(
        self, lines: Sequence[bytes], *, model: str, metadata: Mapping[str, str], timeout_h: int
    ) -> bytes:
        """There are no such jobs.

        Raises:
            NotImplementedError: Always; see `has_inline`.
        """
        raise NotImplementedError("OpenAI's batch jobs carry no requests")

    def read_job(self, document: Any) -> Job:  # noqa: ANN401  (any JSON)
        """A job out of an answer.

        Raises:
            BrokenReplyError: It is none.
        """
        try:
            counts = document.get("request_counts") or {}
            errors = (document.get("errors") or {}).get("data") or ()
            ends = (document.get(f"{how}_at") for how in _OPENAI_ENDS)
            failed = _count(counts.get("failed"))
            return Job(
                id=_id(document),
                state=_OPENAI_STATES.get(document["status"], JobState.RUNNING),
                total=_count(counts.get("total")),
                completed=_count(counts.get("completed")) + failed,
                failed=failed,
                result_files=_ids(document.get("output_file_id"), document.get("error_file_id")),
                cause=_told(map(_placed, errors)),
                metadata=_texts(document.get("metadata")),
                is_queue_full=any(_QUEUE_FULL.fullmatch(str(each.get("code"))) for each in errors),
                created_at=_moment(document.get("created_at")),
                ended_at=_moment(next(filter(None, ends), None)),
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise _no_job(document) from error

    def files_query(self, name: str) -> Mapping[str, str]:  # noqa: ARG002  (no such filter)
        """Pages of all files for batches."""
        return {"purpose": "batch", "order": "desc", "limit": str(_OPENAI_FILES_PAGE)}

    def jobs_query(self, metadata: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002
        """Pages of all jobs."""
        return {"limit": str(_PAGE)}

    def next_page(self, query: Mapping[str, str], page: Document) -> Mapping[str, str] | None:
        """By the id of the last row."""
        last = page["data"][-1].get("id")
        return {**query, "after": str(last)} if last and page.get("has_more") else None


MISTRAL: BatchForm = MistralForm()
OPENAI: BatchForm = OpenAiForm()

# A state that is not among them is taken for one on the way; a job's time ends that, too.
_MISTRAL_STATES = {
    "QUEUED": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "SUCCESS": JobState.SUCCESS,
    "FAILED": JobState.FAILED,
    "TIMEOUT_EXCEEDED": JobState.TIMED_OUT,
    "CANCELLATION_REQUESTED": JobState.CANCELLING,
    "CANCELLED": JobState.CANCELLED,
}
_OPENAI_STATES = {
    "validating": JobState.QUEUED,
    "in_progress": JobState.RUNNING,
    "finalizing": JobState.RUNNING,
    "completed": JobState.SUCCESS,
    "failed": JobState.FAILED,
    "expired": JobState.TIMED_OUT,
    "cancelling": JobState.CANCELLING,
    "cancelled": JobState.CANCELLED,
}
# Of jobs, beside their metadata: keys of these names cannot be asked for.
_MISTRAL_FILTERS = ("model", "agent_id", "metadata", "created_after", "created_by_me", "status")
_OPENAI_ENDS = ("completed", "failed", "expired", "cancelled")


def form_for(provider: str) -> BatchForm:
    """The form that a provider of the configuration speaks."""
    return OPENAI if provider == "openai" else MISTRAL


def _order(
    model: str, metadata: Mapping[str, str], timeout_h: int, **of: Sequence[object]
) -> bytes:
    fields = {"endpoint": ENDPOINT, "model": model, "timeout_hours": timeout_h}
    return orjson.dumps(fields | {"metadata": dict(metadata)} | of)


def _no_job(document: object) -> BrokenReplyError:
    return BrokenReplyError(f"no batch job: {excerpt(orjson.dumps(document))}")


def _id(document: Document) -> str:
    if not isinstance(document["id"], str) or not document["id"]:
        raise ValueError("no id")
    return document["id"]


def _ids(*files: object) -> tuple[str, ...]:
    return tuple(str(each) for each in files if each)


def _texts(metadata: Document | None) -> dict[str, str]:
    return {str(key): str(value) for key, value in (metadata or {}).items()}


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _moment(seconds: object) -> datetime | None:
    if not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _counted(error: Document) -> str:
    return f"{error.get('message')} ({error.get('count', 1)} times)"


def _placed(error: Document) -> str:
    line = error.get("line")
    return f"line {line}: {error.get('message')}" if line else str(error.get("message"))


def _told(causes: Iterable[str]) -> str:
    told = list(causes)
    more = f"; and {len(told) - _MOST_CAUSES} more" if len(told) > _MOST_CAUSES else ""
    return excerpt("; ".join(told[:_MOST_CAUSES]).encode(), max_chars=1000) + more
