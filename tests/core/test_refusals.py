"""Every refusal that was seen, and what is done about it."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.error_bodies import ErrorBody, read_error_body
from vision_pipeline.core.errors import (
    AccessError,
    EndpointError,
    ErrorCode,
    ItemError,
    PipelineError,
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

SILENT = RateHeaders(None, None, None)
ZERO = {"x-ratelimit-limit-req-minute": "0"}


def mistral(message, kind, code):
    return orjson.dumps(
        {"object": "error", "message": message, "type": kind, "param": None, "code": code}
    )


def refused(status, body, headers=None):
    rate = read_rate_headers(headers or {}, now=datetime(2026, 11, 22, tzinfo=UTC))
    return refusal(status, body, rate=rate)


LIMITED = mistral("Rate limit exceeded", "rate_limited", "1300")
CAPACITY = mistral("Service tier capacity exceeded", "service_tier_capacity_exceeded", "3505")


# What was seen or is known of each kind, in the order of the table: what happened, what the body
# says, whether the headers tell of a limit of 0, and what is done.
CASES = [
    (Failure.TIMEOUT, b"", False, Action.RETRY),
    (Failure.NETWORK, b"", False, Action.RETRY),
    (429, b'{"error":{"message":"m","code":"insufficient_quota"}}', True, Action.STOP_ACCESS),
    (429, LIMITED, True, Action.STOP_ACCESS),
    (429, b'{"error":{"message":"Request too large for m"}}', False, Action.GIVE_UP),
    (429, CAPACITY, False, Action.WAIT),
    (429, LIMITED, False, Action.WAIT),
    (403, mistral("blocked", "guardrail_violation", None), False, Action.GIVE_UP),
    (403, b"<!DOCTYPE html><html>blocked</html>", False, Action.STOP_FORM),
    (403, mistral("Labs model", "forbidden", 1913), False, Action.STOP_ACCESS),
    (500, b'{"error":{"message":"image input is not supported"}}', False, Action.STOP_ENDPOINT),
    (408, b"", False, Action.RETRY),
    (520, b"<html>", False, Action.RETRY),
    (413, b"Request size limit exceeded", False, Action.GIVE_UP),
    (400, mistral("Invalid model: x", "invalid_model", "1500"), False, Action.STOP_ENDPOINT),
    (404, b'{"detail":"Not Found"}', False, Action.STOP_ENDPOINT),
    (307, b"", False, Action.STOP_FORM),
    (400, mistral("Grammar error: at 3(11)", "x", None), False, Action.STOP_FORM),
    (400, b'{"error":{"code":"unsupported_value"}}', False, Action.STOP_FORM),
    (400, mistral("filtered", "content_filter", None), False, Action.GIVE_UP),
    (400, mistral("m", "invalid_request_prompt_too_long", "3059"), False, Action.GIVE_UP),
    (400, mistral("maximum context length is 9", "BadRequestError", 400), False, Action.GIVE_UP),
]


@pytest.mark.parametrize(
    ("rule", "case"), list(zip(RULES, CASES, strict=True)), ids=range(len(CASES))
)
def test_each_row_of_the_table_is_the_first_that_fits_its_case(rule, case):
    on, body, is_zero, action = case
    assert rule_for(on, read_error_body(body), is_zero=is_zero) is rule
    assert rule.action is action


@pytest.mark.parametrize("status", [400, 409, 418, 422, 451])
def test_what_no_row_is_about_gives_up_the_item_alone(status):
    assert rule_for(status, ErrorBody("odd", "", ""), is_zero=False) is LAST


@pytest.mark.parametrize("rule", [*RULES, LAST], ids=range(len(RULES) + 1))
def test_what_makes_a_row_in_the_end_has_a_code_and_what_stops_the_run_has_words(rule):
    stops = rule.action in {Action.STOP_ACCESS, Action.STOP_ENDPOINT}
    may_stop = stops or rule.action is Action.STOP_FORM
    assert (rule.code is None) == stops
    assert bool(rule.words) == may_stop


@pytest.mark.parametrize(
    ("status", "body"),
    [(204, b""), (422, mistral("Extra inputs are not permitted", "extra_forbidden", None))],
)
def test_a_form_that_was_taken_before_is_no_fault_of_every_request(status, body):
    assert type(refusal(status, body, rate=SILENT)) is EndpointError
    error = refusal(status, body, rate=SILENT, has_served=True)
    assert (type(error), error.code) == (ItemError, ErrorCode.REFUSED_REQUEST)
    assert "every request" not in str(error)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Failure.TIMEOUT, ErrorCode.TIMEOUT),
        (Failure.NETWORK, ErrorCode.MODEL_UNAVAILABLE),
        (Failure.BROKEN_REPLY, ErrorCode.MODEL_UNAVAILABLE),
    ],
)
def test_failures_without_a_status_are_tried_again(kind, code):
    error = failure(kind, "the cause")
    assert isinstance(error, RetryableError)
    assert (error.code, error.detail, error.is_rate_limit) == (code, "the cause", False)


def test_a_full_server_is_told_from_a_used_up_quota():
    assert refused(429, CAPACITY).is_full
    assert not refused(429, LIMITED).is_full


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"detail":"Invalid API Key"}'),
        (401, b'{"detail":"Unauthorized"}'),
        (401, b'{"message":"Unauthorized","request_id":"ab"}'),
        (401, b'{"message":"Inactive subscription or usage limit reached","request_id":"ab"}'),
        (402, b'{"error":{"message":"Insufficient Balance"}}'),
        (403, b'{"message":"Inactive subscription or usage limit reached"}'),
        (403, mistral("Labs model", "forbidden", 1913)),
        (429, b'{"error":{"message":"exceeded","type":"insufficient_quota","code":null}}'),
        (429, b'{"error":{"message":"exceeded","type":null,"code":"insufficient_quota"}}'),
    ],
)
def test_a_refused_key_or_plan_stops_the_run(status, body):
    error = refused(status, body)
    assert isinstance(error, AccessError)
    assert f"HTTP {status}" in str(error)


def test_a_limit_of_zero_stops_the_run():
    error = refused(429, LIMITED, ZERO)
    assert isinstance(error, AccessError)
    assert "rate limit is 0" in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, mistral("Invalid model: x", "invalid_model", "1500")),
        (400, mistral("Invalid model: x", "other", 1500)),
        (404, mistral("gone", "model_not_found", None)),
        (404, mistral("no route", "not_found", "3040")),
        (404, b'{"message":"no Route matched with those values","request_id":"ab"}'),
        (404, b'{"detail":"Not Found"}'),
        (404, b"404 page not found"),
        (404, b"<html><h1>404 Not Found</h1></html>"),
        (404, b""),
        (404, b'{"object":"error","message":"The model `x` does not exist.","code":404}'),
        (404, b'{"error":{"message":"model \\"x\\" not found, try pulling it first"}}'),
        (405, b'{"detail":"Method Not Allowed"}'),
        (308, b""),
    ],
)
def test_a_wrong_address_or_model_stops_the_run(status, body):
    error = refused(status, body)
    assert isinstance(error, EndpointError)
    assert f"HTTP {status}" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (403, mistral("blocked", "guardrail_violation", None), ErrorCode.CONTENT_FILTERED),
        (403, mistral("blocked", "moderation", None), ErrorCode.CONTENT_FILTERED),
        (
            400,
            b'{"error":{"message":"filtered","code":"content_filter"}}',
            ErrorCode.CONTENT_FILTERED,
        ),
        (400, mistral("filtered", "content_filter", None), ErrorCode.CONTENT_FILTERED),
        (
            400,
            mistral(
                "Prompt 264620 > 262144 maximum context length",
                "invalid_request_prompt_too_long",
                "3059",
            ),
            ErrorCode.IMAGE_TOO_LARGE,
        ),
        (
            400,
            b'{"error":{"message":"too long","code":"context_length_exceeded"}}',
            ErrorCode.IMAGE_TOO_LARGE,
        ),
        (413, b"Request size limit exceeded", ErrorCode.IMAGE_TOO_LARGE),
        (413, b"", ErrorCode.IMAGE_TOO_LARGE),
        (
            400,
            mistral("Expected last role", "invalid_request_message_order", None),
            ErrorCode.REFUSED_REQUEST,
        ),
        (
            400,
            mistral("File could not be fetched from url 'x'", "invalid_request_file", "3310"),
            ErrorCode.REFUSED_REQUEST,
        ),
        (
            400,
            mistral("Failed to fetch document", "invalid_request_error", None),
            ErrorCode.REFUSED_REQUEST,
        ),
        (422, b'{"detail":[{"loc":["body"],"msg":"bad image"}]}', ErrorCode.REFUSED_REQUEST),
    ],
)
def test_a_refused_request_gives_up_its_item_alone(status, body, code):
    error = refused(status, body)
    assert isinstance(error, ItemError)
    assert error.code == code
    assert error.detail.startswith(f"HTTP {status}")


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (429, LIMITED, {}, ("rate_limited", True, None)),
        (429, LIMITED, {"retry-after": "7"}, ("rate_limited", True, 7)),
        (429, b'{"message":"Requests rate limit exceeded"}', {}, ("rate_limited", True, None)),
        (429, b"", {}, ("rate_limited", True, None)),
        (429, CAPACITY, {}, ("rate_limited", True, None)),
        (429, CAPACITY, {"retry-after": "3"}, ("rate_limited", True, 3)),
        (408, b"", {}, ("model_unavailable", False, None)),
        (425, b"", {}, ("model_unavailable", False, None)),
        (499, b"", {}, ("model_unavailable", False, None)),
        (500, b'{"error":{"message":"oops"}}', {}, ("model_unavailable", False, None)),
        (
            502,
            b"An invalid response was received from the upstream server",
            {},
            ("model_unavailable", False, None),
        ),
        (503, b'{"error":"overloaded"}', {"retry-after": "2"}, ("model_unavailable", False, 2)),
        (504, b"", ZERO, ("model_unavailable", False, None)),
        (520, b"<!DOCTYPE html><html>cloudflare</html>", {}, ("model_unavailable", False, None)),
    ],
)
def test_what_may_pass_is_tried_again(status, body, headers, expected):
    error = refused(status, body, headers)
    assert isinstance(error, RetryableError)
    assert (error.code, error.is_rate_limit, error.retry_after_s) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"detail":[{"type":"extra_forbidden","loc":["body","store"],'
            b'"msg":"Extra inputs are not permitted","input":false}]}',
            "body.store: Extra inputs are not permitted",
        ),
        (
            b'{"object":"error","message":{"detail":[{"loc":["body","n"],"msg":"wrong"},'
            b'{"msg":"bare"}]},"type":"invalid_request_error","param":null,"code":null}',
            "body.n: wrong; bare",
        ),
        (
            b'{"object":"Error","detail":[{"msg":"d"}],"message":[{"msg":"m"}],"code":3001}',
            "m",
        ),
        (b'{"detail":["just text",{"loc":[],"type":"odd"}]}', "just text; {'loc': [], "),
        (b'{"error":{"message":"inner","type":"t","param":null,"code":400}}', "inner"),
        (b'{"error":"model not found"}', "model not found"),
        (b'{"message":{"why":"unknown"}}', '{"why":"unknown"}'),
        (b'{"unexpected":1}', '{"unexpected":1}'),
        (b"[1, 2]", "[1, 2]"),
        (b"plain\n  text", "plain text"),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_every_known_shape_of_error_body_gives_a_message(body, message):
    assert read_error_body(body).message.startswith(message)


@pytest.mark.parametrize(("code", "text"), [("1500", "1500"), (1500, "1500"), (None, "")])
def test_an_error_code_may_be_text_a_number_or_null(code, text):
    assert read_error_body(mistral("x", "y", code)).code == text


def test_a_long_message_is_cut():
    assert len(str(refused(400, mistral("x" * 10_000, "y", None)))) < 500


json = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "code", "type", "loc", "msg"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.integers(100, 599), json.map(orjson.dumps) | st.binary(max_size=20))
def test_no_body_breaks_the_reading_of_a_refusal(status, body):
    assert isinstance(refusal(status, body, rate=SILENT), PipelineError)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, mistral("Grammar error: at 3(11): failed to compile JSON schema", "x", None)),
        (
            422,
            b'{"detail":[{"type":"extra_forbidden","loc":["body","store"],'
            b'"msg":"Extra inputs are not permitted","input":false}]}',
        ),
    ],
)
def test_what_every_request_has_in_common_stops_the_run(status, body):
    error = refused(status, body)
    assert isinstance(error, EndpointError)
    assert "every request" in str(error)
