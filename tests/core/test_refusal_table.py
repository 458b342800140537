"""The table of refusals against what servers were seen to say, row by row."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.error_bodies import read_error_body
from vision_pipeline.core.errors import (
    AccessError,
    EndpointError,
    ErrorCode,
    ItemError,
    RetryableError,
)
from vision_pipeline.core.rate_headers import RateHeaders, read_rate_headers
from vision_pipeline.core.refusals import (
    LAST,
    RULES,
    Action,
    Failure,
    failure,
    refusal,
    rule_for,
)

KINDS = (AccessError, EndpointError, ItemError, RetryableError)

EXTRA = {"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted"}
BAD_STRING = {
    "type": "value_error",
    "loc": ["body"],
    "msg": "Value error, Image content must be a URL (starting with 'https') or base64 encoded",
}
ZERO = {"x-ratelimit-limit-req-minute": "0"}
USED_UP = "Inactive subscription or usage limit reached"


class Case(NamedTuple):
    """What a server says, and what is done about it.

    `code` is that of the row that results or would, None where the run stops; `says` is part of
    what a person reads.
    """

    name: str
    status: int
    body: bytes
    action: Action
    code: ErrorCode | None
    says: str
    headers: Mapping[str, str] = MappingProxyType({})


def mistral(message, kind, code=None):
    return orjson.dumps(
        {"object": "error", "message": message, "type": kind, "param": None, "code": code}
    )


def openai(message, kind, code=None):
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def plain(**fields):
    return orjson.dumps(fields)


WAIT, RETRY, GIVE_UP = Action.WAIT, Action.RETRY, Action.GIVE_UP
NO_ACCESS, NO_ENDPOINT = Action.STOP_ACCESS, Action.STOP_ENDPOINT
NO_FORM = Action.STOP_FORM
LIMITED, GONE = ErrorCode.RATE_LIMITED, ErrorCode.MODEL_UNAVAILABLE
LARGE, REFUSED = ErrorCode.IMAGE_TOO_LARGE, ErrorCode.REFUSED_REQUEST
FILTERED = ErrorCode.CONTENT_FILTERED

PER_MINUTE = mistral("Rate limit exceeded", "rate_limited", "1300")
CAPACITY = mistral(
    "Service tier capacity exceeded for this model.", "service_tier_capacity_exceeded", "3505"
)
TOO_LONG = mistral(
    "Prompt 264620 > 262144 maximum context length", "invalid_request_prompt_too_long", "3059"
)
VLLM_TOO_LONG = "This model's maximum context length is 16384 tokens. However, you requested 122946"
CLOUDFLARE = b"<!DOCTYPE html>\n<html><title>520: unknown error</title></html>"
KEY_OR_PLAN = "refuses the key or the plan"
NO_MODEL = "does not know the model"
NO_COMPLETIONS = "no chat completions of this model here"
EVERY = "refuses the form of every request"

CASES = [
    # Mistral: the key and the plan.
    Case("key", 401, plain(detail="Invalid API Key"), NO_ACCESS, None, KEY_OR_PLAN),
    Case("key, old", 401, plain(detail="Unauthorized"), NO_ACCESS, None, "Unauthorized"),
    Case("key, gateway", 401, plain(message="Unauthorized"), NO_ACCESS, None, "Unauthorized"),
    Case("plan used up", 401, plain(message=USED_UP), NO_ACCESS, None, USED_UP),
    Case("plan used up, old", 403, plain(message=USED_UP), NO_ACCESS, None, USED_UP),
    Case("labs", 403, mistral("Labs", "forbidden", 1913), NO_ACCESS, None, KEY_OR_PLAN),
    Case("guardrail", 403, mistral("m", "guardrail_violation"), GIVE_UP, FILTERED, "HTTP 403: m"),
    Case("firewall", 403, b"<!DOCTYPE html>blocked", NO_ENDPOINT, None, "every request"),
    # Mistral: limits.
    Case("per minute", 429, PER_MINUTE, WAIT, LIMITED, "HTTP 429: Rate limit exceeded"),
    Case("old", 429, plain(message="Requests rate limit exceeded"), WAIT, LIMITED, "Requests"),
    Case("capacity", 429, CAPACITY, WAIT, LIMITED, "capacity exceeded"),
    Case("limit of 0", 429, PER_MINUTE, NO_ACCESS, None, "its rate limit is 0", ZERO),
    Case("too large", 429, plain(message="Request too large"), GIVE_UP, LARGE, "too large"),
    # Mistral: the address and the model.
    Case("model", 400, mistral("Invalid", "invalid_model", "1500"), NO_ENDPOINT, None, NO_MODEL),
    Case("retired", 404, mistral("Invalid", "invalid_model", "1500"), NO_ENDPOINT, None, NO_MODEL),
    Case("routing", 404, mistral("m", "model_not_found", "3040"), NO_ENDPOINT, None, NO_MODEL),
    Case("path", 404, plain(message="no Route matched"), NO_ENDPOINT, None, NO_COMPLETIONS),
    Case("path, old", 404, plain(detail="Not Found"), NO_ENDPOINT, None, "model.base_url"),
    # Mistral: the request.
    Case("too long", 400, TOO_LONG, GIVE_UP, LARGE, "Prompt 264620 > 262144"),
    Case("conversations", 400, plain(message="Input too large", code=3051), GIVE_UP, LARGE, "too"),
    Case(
        "message order", 400, mistral("Expected", "invalid_request_message_order"), GIVE_UP,
        REFUSED, "HTTP 400: Expected",
    ),
    Case(
        "URL", 400, mistral("not fetched", "invalid_request_file", "3310"), GIVE_UP, REFUSED,
        "HTTP 400: not fetched",
    ),
    Case("image string", 422, plain(detail=[BAD_STRING]), GIVE_UP, REFUSED, "body: Value error"),
    Case(
        "document", 400, mistral("Failed to fetch document", "invalid_request_error"), GIVE_UP,
        REFUSED, "Failed to fetch",
    ),
    Case("size", 413, plain(message="Request size limit exceeded"), GIVE_UP, LARGE, "HTTP 413: Re"),
    Case("shape A", 422, plain(detail=[EXTRA]), NO_ENDPOINT, None, "body.x: Extra inputs"),
    Case("shape B", 422, mistral({"detail": [EXTRA]}, "e"), NO_ENDPOINT, None, EVERY),
    Case("shape B, item", 422, mistral({"detail": [BAD_STRING]}, "e"), GIVE_UP, REFUSED, "Image"),
    Case(
        "shape C", 422, plain(object="Error", detail=[EXTRA], message=[EXTRA], code=3001),
        NO_ENDPOINT, None, EVERY,
    ),
    Case("schema", 400, mistral("Grammar error: at 3(11)", "e"), NO_ENDPOINT, None, EVERY),
    # Mistral: the server, its gateway and the edge.
    Case("edge", 520, CLOUDFLARE, RETRY, GONE, "HTTP 520: <!DOCTYPE html>"),
    Case("gateway", 502, b"An invalid response was received", RETRY, GONE, "An invalid response"),
    Case("500", 500, mistral("Internal server error", "e", "1000"), RETRY, GONE, "Internal"),
    Case("503", 503, plain(message="Service unavailable"), RETRY, GONE, "HTTP 503: Service"),
    Case("504", 504, b"", RETRY, GONE, "HTTP 504"),
    Case("408", 408, b"", RETRY, GONE, "HTTP 408"),
    Case("425", 425, b"", RETRY, GONE, "HTTP 425"),
    Case("499", 499, b"", RETRY, GONE, "HTTP 499"),
    Case("beyond 599", 999, b"", RETRY, GONE, "HTTP 999"),
    Case("redirect", 301, b"", NO_ENDPOINT, None, NO_COMPLETIONS),
    Case("accepted", 202, b"{}", NO_ENDPOINT, None, NO_COMPLETIONS),
    # OpenAI, and those that speak as it does.
    Case("no money", 429, openai("m", "insufficient_quota"), NO_ACCESS, None, "plan of this key"),
    Case(
        "no account", 429, openai("m", "billing_not_active", "billing_not_active"), NO_ACCESS, None,
        "the plan of this key is used up",
    ),
    Case("402", 402, openai("Insufficient Balance", "e"), NO_ACCESS, None, "Insufficient Balance"),
    Case("context", 400, openai("m", "e", "context_length_exceeded"), GIVE_UP, LARGE, "HTTP 400"),
    Case("filter", 400, openai("m", "e", "content_filter"), GIVE_UP, FILTERED, "HTTP 400: m"),
    Case("model", 404, openai("m", "e", "model_not_found"), NO_ENDPOINT, None, NO_MODEL),
    Case("field", 400, openai("m", "e", "unknown_parameter"), NO_ENDPOINT, None, EVERY),
    Case("max_tokens", 400, openai("m", "e", "unsupported_parameter"), NO_ENDPOINT, None, EVERY),
    Case("temperature", 400, openai("m", "e", "unsupported_value"), NO_ENDPOINT, None, EVERY),
    Case("image", 400, openai("m", "e", "invalid_image_format"), GIVE_UP, REFUSED, "HTTP 400: m"),
    # vLLM, flat and nested.
    Case("vLLM", 400, mistral("At most 1 image(s)", "BadRequestError", 400), GIVE_UP, REFUSED, "1"),
    Case("vLLM", 400, mistral(VLLM_TOO_LONG, "BadRequestError", 400), GIVE_UP, LARGE, "16384"),
    Case("vLLM", 400, openai(VLLM_TOO_LONG, "BadRequestError", 400), GIVE_UP, LARGE, "16384"),
    Case("vLLM", 404, mistral("no `x`", "NotFoundError", 404), NO_ENDPOINT, None, NO_COMPLETIONS),
    # Ollama.
    Case("Ollama", 404, openai('model "x" not found', "api_error"), NO_ENDPOINT, None, "not found"),
    Case("Ollama", 400, openai("invalid image input", "e"), GIVE_UP, REFUSED, "invalid image"),
    # llama.cpp.
    Case("llama", 503, openai("Loading model", "unavailable_error", 503), RETRY, GONE, "Loading"),
    Case("llama", 400, openai("m", "exceed_context_size_error", 400), GIVE_UP, LARGE, "HTTP 400"),
    Case("llama", 401, openai("Invalid API Key", "e", 401), NO_ACCESS, None, KEY_OR_PLAN),
    Case(
        "llama", 500, openai("image input is not supported by this server", "server_error", 500),
        NO_ENDPOINT, None, "takes no images",
    ),
]  # fmt: skip


def refused(case):
    rate = read_rate_headers(case.headers, now=datetime(2026, 11, 22, tzinfo=UTC))
    return refusal(case.status, case.body, rate=rate)


def rule_of(case):
    is_zero = bool(case.headers)
    return rule_for(case.status, read_error_body(case.body), is_zero=is_zero)


def action_of(error):
    match error:
        case AccessError():
            return Action.STOP_ACCESS
        case EndpointError():
            return Action.STOP_ENDPOINT
        case ItemError():
            return Action.GIVE_UP
        case RetryableError(is_rate_limit=is_rate_limit):
            return Action.WAIT if is_rate_limit else Action.RETRY


@pytest.mark.parametrize("case", CASES, ids=[f"{case.status} {case.name}" for case in CASES])
def test_what_servers_were_seen_to_say_has_its_action_its_code_and_its_words(case):
    error = refused(case)
    assert (action_of(error), getattr(error, "code", None)) == (case.action, case.code)
    assert case.says in str(error)
    assert f"HTTP {case.status}" in str(error)


@pytest.mark.parametrize(
    ("status", "mark", "action", "code"),
    [
        (429, "insufficient_quota", NO_ACCESS, None),
        (429, "billing_not_active", NO_ACCESS, None),
        (429, "3505", WAIT, LIMITED),
        (429, "service_tier_capacity_exceeded", WAIT, LIMITED),
        (403, "guardrail_violation", GIVE_UP, FILTERED),
        (403, "moderation", GIVE_UP, FILTERED),
        (400, "1500", NO_ENDPOINT, None),
        (400, "invalid_model", NO_ENDPOINT, None),
        (400, "3040", NO_ENDPOINT, None),
        (400, "model_not_found", NO_ENDPOINT, None),
        (400, "unknown_parameter", NO_ENDPOINT, None),
        (400, "unsupported_parameter", NO_ENDPOINT, None),
        (400, "unsupported_value", NO_ENDPOINT, None),
        (400, "content_filter", GIVE_UP, FILTERED),
        (400, "3059", GIVE_UP, LARGE),
        (400, "3051", GIVE_UP, LARGE),
        (400, "invalid_request_prompt_too_long", GIVE_UP, LARGE),
        (400, "context_length_exceeded", GIVE_UP, LARGE),
        (400, "exceed_context_size_error", GIVE_UP, LARGE),
        (400, "not_the_1500", GIVE_UP, REFUSED),
        (429, "13505", WAIT, LIMITED),
    ],
)
@pytest.mark.parametrize("field", ["code", "type"])
def test_each_mark_alone_decides_as_a_code_or_as_a_type(status, mark, action, code, field):
    error = refusal(status, plain(message="m", **{field: mark}), rate=RateHeaders())
    assert (action_of(error), getattr(error, "code", None)) == (action, code)
    is_full = mark in {"3505", "service_tier_capacity_exceeded"}
    assert getattr(error, "is_full", False) == is_full


@pytest.mark.parametrize("field", ["extra fields not permitted", "Extra inputs are not permitted"])
@pytest.mark.parametrize("status", [400, 422])
def test_a_field_that_the_server_does_not_know_stops_the_run(status, field):
    error = refusal(
        status, plain(detail=[{"loc": ["body", "x"], "msg": field}]), rate=RateHeaders()
    )
    assert EVERY in str(error)


@pytest.mark.parametrize("status", [400, 406, 409, 415, 422, 451, 498])
def test_what_a_body_says_counts_for_all_statuses_of_a_refused_request(status):
    error = refusal(status, mistral("m", "content_filter"), rate=RateHeaders())
    assert (type(error), error.code) == (ItemError, FILTERED)


def test_no_row_of_the_table_is_dead():
    reached = [rule_of(case) for case in CASES]
    reached += [rule_for(kind, read_error_body(b""), is_zero=False) for kind in Failure]
    dead = [rule for rule in (*RULES, LAST) if not any(rule is other for other in reached)]
    assert dead == []


@pytest.mark.parametrize(
    ("status", "body", "is_zero", "upper", "lower"),
    [
        (429, openai("m", "insufficient_quota"), True, (NO_ACCESS, "used up"), (NO_ACCESS, "is 0")),
        (429, CAPACITY, True, (NO_ACCESS, "is 0"), (WAIT, "")),
        (403, mistral("m", "moderation"), False, (GIVE_UP, ""), (NO_ACCESS, KEY_OR_PLAN)),
        (
            500,
            plain(message="image input is not supported"),
            False,
            (NO_ENDPOINT, "takes no images"),
            (RETRY, ""),
        ),
        (
            404,
            mistral("m", "invalid_model", "1500"),
            False,
            (NO_ENDPOINT, NO_MODEL),
            (NO_ENDPOINT, NO_COMPLETIONS),
        ),
        (
            400,
            mistral("Grammar error", "invalid_model"),
            False,
            (NO_ENDPOINT, NO_MODEL),
            (NO_FORM, EVERY),
        ),
        (
            400,
            mistral("Grammar error", "content_filter"),
            False,
            (NO_FORM, EVERY),
            (GIVE_UP, ""),
        ),
    ],
)
def test_of_two_rows_that_fit_the_upper_one_decides(status, body, is_zero, upper, lower):
    told = read_error_body(body)
    first, second, *_ = [rule for rule in RULES if rule.fits(status, told, is_zero=is_zero)]
    assert rule_for(status, told, is_zero=is_zero) is first
    for rule, (action, words) in [(first, upper), (second, lower)]:
        assert rule.action is action
        assert words in rule.words


def test_capacity_with_a_limit_of_zero_stops_the_run():
    error = refusal(429, CAPACITY, rate=RateHeaders(requests_per_minute=0))
    assert isinstance(error, AccessError)


def test_a_wait_is_the_servers_or_none():
    assert {refused(case).retry_after_s for case in CASES if case.action is WAIT} == {None}
    assert refusal(429, CAPACITY, rate=RateHeaders(retry_after_s=0.0)).retry_after_s == 0


# One such body must not stop a run as if it were a bug: JSON is read to 1024 levels, but written
# to 254 only, and Python's repr() ends at about 1000.
DEPTHS = [100, 253, 254, 255, 300, 500, 950, 1000, 1020, 1024, 5000]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("brackets", [('{"a":', "}"), ("[", "]")])
@pytest.mark.parametrize(
    "frame",
    [
        "%s",
        '{"message":%s}',
        '{"detail":[{"loc":[%s],"msg":"m"}]}',
        '{"detail":[{"msg":%s}]}',
        '{"error":%s}',
        '{"message":"m","type":%s}',
        '{"message":"m","code":%s}',
    ],
)
def test_a_body_of_any_depth_is_no_bug(frame, brackets, depth):
    opening, closing = brackets
    body = (frame % (opening * depth + "1" + closing * depth)).encode()
    assert isinstance(refusal(400, body, rate=RateHeaders()), ItemError)


words = st.sampled_from(
    [
        None, 0, 400, 1500, "1300", "1500", "3051", "3059", "3505", "insufficient_quota",
        "invalid_model", "guardrail_violation", "content_filter", "unsupported_value",
        "BadRequestError", "Grammar error", "Extra inputs are not permitted", "Not Found", "",
        "image input is not supported", "maximum context length",
    ]
)  # fmt: skip
json = st.recursive(
    words | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "code", "type", "loc", "msg"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)
statuses = st.integers(100, 599).filter(lambda status: status != 200)
bodies = st.binary(max_size=50) | json.map(orjson.dumps)
limits = st.none() | st.integers(0, 2)
rates = st.builds(
    RateHeaders, requests_per_minute=limits, tokens_per_minute=limits, retry_after_s=limits
)


@given(statuses, bodies, rates)
def test_whatever_a_server_says_gives_one_of_four_errors(status, body, rate):
    error = refusal(status, body, rate=rate)
    assert type(error) in KINDS
    assert f"HTTP {status}" in str(error)
    assert len(str(error)) < 500


@given(bodies, rates)
def test_429_never_makes_a_row_and_never_uses_up_an_attempt(body, rate):
    assert action_of(refusal(429, body, rate=rate)) in {WAIT, NO_ACCESS}


@given(st.integers(500, 599), bodies, rates)
def test_a_bad_moment_of_the_server_is_never_the_fault_of_an_item(status, body, rate):
    assert action_of(refusal(status, body, rate=rate)) in {RETRY, NO_ENDPOINT}


@given(st.sampled_from(Failure), st.text(max_size=20))
def test_a_failure_without_a_status_is_tried_again_in_the_words_of_its_cause(kind, cause):
    error = failure(kind, cause)
    assert action_of(error) is RETRY
    assert (str(error), error.retry_after_s) == (cause, None)
