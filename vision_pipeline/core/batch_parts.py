"""What was handed to a Batch API, noted before and after each step: a kill costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from vision_pipeline.core.records import Amount

State = Literal["prepared", "uploaded", "submitted", "collected"]


@dataclass(frozen=True, slots=True)
class Part:
    """A file of requests, and the job that answers them.

    Attributes:
        number: Within the run, from 1.
        round: In which round it was handed over, from 1; later ones ask what earlier ones left.
        name: Of the file and of the job at the provider; no other one has it.
        requests: How many.
        payers: Which item pays for each request, by idempotency key; of a collected part, for those
            without an answer, since the others are in the ledger.
        worst: The most that all of it can take.
        is_inline: Whether the requests go with the call that makes the job, without a file.
        state: How far it has come: `prepared` before the upload, `uploaded` before the job is
            made, `submitted` while it runs, `collected` once every answer is in the ledger.
        at_s: When it came so far, in seconds since 1970.
        outcome: Of a collected part, the state in which its job ended.
        answered: Of a collected part, how many requests have an answer.
        unusable: How many of these answers do not fit the schema.
        failures: Of a collected part: status and body of the requests that failed, by key.
    """

    number: int
    round: int
    name: str
    requests: int
    payers: Mapping[str, str]
    worst: Amount = field(default_factory=Amount)
    is_inline: bool = False
    state: State = "prepared"
    at_s: float = 0.0
    file_id: str = ""
    job_id: str = ""
    outcome: str = ""
    answered: int = 0
    unusable: int = 0
    failures: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether answers of it may still come."""
        return self.state != "collected"

    @property
    def may_have_job(self) -> bool:
        """Whether the provider may be at work on it, or be done."""
        return self.is_open and (self.is_inline or self.state != "prepared")


def to_document(part: Part) -> dict[str, Any]:
    """For JSON."""
    return asdict(part)


def from_document(document: Mapping[str, Any]) -> Part:
    """Out of JSON.

    Raises:
        LookupError: Something is missing; likewise TypeError and ValueError where it is no part.
    """
    failed = document["failures"].items()
    failures = {key: (int(status), str(told)) for key, (status, told) in failed}
    if document["state"] not in get_args(State):
        raise ValueError(f"no such state: {document['state']!r}")
    worst = Amount(**document["worst"])
    return Part(**{**document, "failures": failures, "worst": worst})
