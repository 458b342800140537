"""From a request that failed to what is done about it: one table, and the first row that fits."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

from vision_pipeline.core.error_bodies import ErrorBody, read_error_body
from vision_pipeline.core.errors import (
    AccessError,
    EndpointError,
    ErrorCode,
    ItemError,
    PipelineError,
    RetryableError,
)
from vision_pipeline.core.rate_headers import RateHeaders


class Action(StrEnum):
    """What is done about a failed request."""

    WAIT = "wait for the limit"  # uses up no attempt
    RETRY = "try again"  # after a growing wait, and not for ever
    GIVE_UP = "an error row"
    STOP_ACCESS = "stop: the key or the plan"
    STOP_ENDPOINT = "stop: the server or the question"
    STOP_FORM = "stop, unless other requests were served: then an error row"


class Failure(StrEnum):
    """Failures without a status, and status 200 without a reply."""

    TIMEOUT = "timeout"
    NETWORK = "network"
    BROKEN_REPLY = "broken reply"


_ANY = re.compile("")
_NO_SUCCESS = range(100, 400)
_REQUEST = range(400, 500)
_SERVER = range(500, 1000)  # some proxies make up their own above 599
_NOT_HERE = "no chat completions of this model here; check model.base_url and model.name"
_FORM = "the server refuses the form of every request"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table.

    Attributes:
        on: Statuses, or kinds of failure.
        action: What is done.
        code: Of the row that results, or would at the end of all attempts.
        marks: What the body's code or type must be, as a whole.
        says: What must be found in its message.
        is_zero: Whether the headers must tell of a limit of 0.
        words: What a person is told, before what the server said.
        is_full: Whether the server is full, whatever the quota.
    """

    on: Container[int | Failure]
    action: Action
    code: ErrorCode | None = None
    marks: re.Pattern[str] | None = None
    says: re.Pattern[str] = _ANY
    is_zero: bool = False
    words: str = ""
    is_full: bool = False

    def fits(self, on: int | Failure, body: ErrorBody, *, is_zero: bool) -> bool:
        """Whether this row is about such a failure."""
        return (
            on in self.on
            and (self.marks is None or any(map(self.marks.fullmatch, (body.code, body.type))))
            and self.says.search(body.message) is not None
            and (is_zero or not self.is_zero)
        )


RULES: tuple[Rule, ...] = (
    # Failures of the way there and back.
    Rule({Failure.TIMEOUT}, Action.RETRY, ErrorCode.TIMEOUT),
    Rule({Failure.NETWORK, Failure.BROKEN_REPLY}, Action.RETRY, ErrorCode.MODEL_UNAVAILABLE),
    # Limits. OpenAI's marks are of an account without money: no wait helps. A limit of 0 carries
    # the same code as one that is used up for now.
    Rule(
        {429},
        Action.STOP_ACCESS,
        marks=re.compile("insufficient_quota|billing_not_active"),
        words="the plan of this key is used up",
    ),
    Rule(
        {429},
        Action.STOP_ACCESS,
        is_zero=True,
        words="the plan of this key does not allow the model: its rate limit is 0",
    ),
    # OpenAI, of a request that is larger than a minute's tokens.
    Rule({429}, Action.GIVE_UP, ErrorCode.IMAGE_TOO_LARGE, says=re.compile("^Request too large")),
    Rule(
        {429},
        Action.WAIT,
        ErrorCode.RATE_LIMITED,
        marks=re.compile("3505|service_tier_capacity_exceeded"),
        is_full=True,
    ),
    Rule({429}, Action.WAIT, ErrorCode.RATE_LIMITED),
    # The key and the plan.
    Rule(
        {403},
        Action.GIVE_UP,
        ErrorCode.CONTENT_FILTERED,
        marks=re.compile(".*(guardrail|moderation).*"),
    ),
    # A firewall before the server dislikes one request, and answers with a page.
    Rule(
        {403},
        Action.STOP_FORM,
        ErrorCode.REFUSED_REQUEST,
        says=re.compile(r"^\s*<"),
        words="something before the server refuses every request",
    ),
    Rule({401, 402, 403}, Action.STOP_ACCESS, words="the provider refuses the key or the plan"),
    # The server has a bad moment; llama.cpp answers also with a 500 where the model is blind.
    Rule(
        _SERVER,
        Action.STOP_ENDPOINT,
        says=re.compile("image input is not supported"),
        words="the model that the server runs takes no images",
    ),
    Rule({408, 425, 499}, Action.RETRY, ErrorCode.MODEL_UNAVAILABLE),
    Rule(_SERVER, Action.RETRY, ErrorCode.MODEL_UNAVAILABLE),
    Rule({413}, Action.GIVE_UP, ErrorCode.IMAGE_TOO_LARGE),
    # What no item can pass. Servers have many words for a wrong address or a missing model, and
    # none of them answers so for one image.
    Rule(
        range(600),
        Action.STOP_ENDPOINT,
        marks=re.compile("1500|invalid_model|3040|model_not_found"),
        words="the server does not know the model",
    ),
    Rule(
        {404, 405},
        Action.STOP_ENDPOINT,
        words=_NOT_HERE,
    ),
    Rule(_NO_SUCCESS, Action.STOP_FORM, ErrorCode.REFUSED_REQUEST, words=_NOT_HERE),
    Rule(
        _REQUEST,
        Action.STOP_FORM,
        ErrorCode.REFUSED_REQUEST,
        says=re.compile("Grammar error|Extra inputs are not permitted|extra fields not permitted"),
        words=_FORM,
    ),
    # OpenAI, of fields such as max_tokens and temperature: the same in all requests of a run.
    Rule(
        _REQUEST,
        Action.STOP_FORM,
        ErrorCode.REFUSED_REQUEST,
        marks=re.compile("(unknown|unsupported)_parameter|unsupported_value"),
        words=_FORM,
    ),
    # What this item cannot pass.
    Rule(
        _REQUEST,
        Action.GIVE_UP,
        ErrorCode.CONTENT_FILTERED,
        marks=re.compile("content_filter"),
    ),
    Rule(
        _REQUEST,
        Action.GIVE_UP,
        ErrorCode.IMAGE_TOO_LARGE,
        marks=re.compile(
            "3059|3051|invalid_request_prompt_too_long|context_length_exceeded"
            "|exceed_context_size_error"  # llama.cpp
        ),
    ),
    # vLLM has one mark for all that can be wrong with a request.
    Rule(
        _REQUEST,
        Action.GIVE_UP,
        ErrorCode.IMAGE_TOO_LARGE,
        says=re.compile("maximum context length"),
    ),
)
LAST = Rule(range(1000), Action.GIVE_UP, ErrorCode.REFUSED_REQUEST)  # whatever else it may be


def rule_for(on: int | Failure, body: ErrorBody, *, is_zero: bool) -> Rule:
    """The first row of the table that fits.

    Args:
        on: HTTP status, not 200, or the kind of failure.
        body: What the response says.
        is_zero: Whether its headers tell of a limit of 0.
    """
    return next((rule for rule in RULES if rule.fits(on, body, is_zero=is_zero)), LAST)


def refusal(
    status: int, body: bytes, *, rate: RateHeaders, has_served: bool = False
) -> PipelineError:
    """The error for a response that is no success.

    Args:
        status: HTTP status, not 200.
        body: Response body.
        rate: What the headers say about limits.
        has_served: Whether other requests of the same run were served.
    """
    told = read_error_body(body)
    said = f"HTTP {status}: {told.message}" if told.message else f"HTTP {status}"
    rule = rule_for(status, told, is_zero=rate.forbidden)
    if rule.action is Action.STOP_FORM and has_served and rule.code is not None:
        return ItemError(rule.code, said)
    return _error(rule, said, rate.retry_after_s)


def failure(kind: Failure, detail: str) -> PipelineError:
    """The error for a request without a response, or without a reply in it.

    Args:
        kind: What happened.
        detail: The cause, without keys.
    """
    return _error(rule_for(kind, ErrorBody("", "", ""), is_zero=False), detail, None)


def _error(rule: Rule, said: str, retry_after_s: float | None) -> PipelineError:
    detail = f"{rule.words} ({said})" if rule.words else said
    if rule.action is Action.STOP_ACCESS:
        return AccessError(detail)
    if rule.code is None or rule.action is Action.STOP_FORM:
        return EndpointError(detail)
    if rule.action is Action.GIVE_UP:
        return ItemError(rule.code, detail)
    return RetryableError(
        rule.code,
        detail,
        retry_after_s=retry_after_s,
        is_rate_limit=rule.action is Action.WAIT,
        is_full=rule.is_full,
    )
