"""Limits read off headers."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.rate_headers import duration_s, read_rate_headers

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

MISTRAL = {
    "x-ratelimit-limit-req-minute": "50",
    "x-ratelimit-remaining-req-minute": "49",
    "x-ratelimit-limit-tokens-minute": "50000",
    "x-ratelimit-remaining-tokens-minute": "47000",
    "x-ratelimit-tokens-query-cost": "3000",
}
OPENAI = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "6m0s",
}


def read(**headers):
    return read_rate_headers(
        {name.replace("_", "-"): value for name, value in headers.items()}, now=NOW
    )


def test_mistral_says_limits_and_no_wait():
    rate = read_rate_headers(MISTRAL, now=NOW)
    assert (rate.requests_per_minute, rate.tokens_per_minute) == (50, 50_000)
    assert (rate.requests_left, rate.tokens_left, rate.debited_tokens) == (49, 47_000, 3000)
    assert rate.retry_after_s is None
    assert not rate.forbidden


def test_mistral_said_it_in_other_words_before():
    rate = read(
        x_ratelimitbysize_limit_minute="500000",
        x_ratelimitbysize_remaining_minute="499000",
        x_ratelimitbysize_limit_month="9",
        ratelimitbysize_query_cost="1000",
    )
    assert (rate.tokens_per_minute, rate.tokens_left) == (500_000, 499_000)
    assert (rate.debited_tokens, rate.requests_per_minute) == (1000, None)


@pytest.mark.parametrize(
    ("limit", "left", "reset", "per_minute"),
    [
        ("14400", "14399", "6s", None),  # Groq's of a day
        ("200", "199", "7m12s", None),
        ("10000", "9990", "1m26.4s", None),
        ("500", "499", "120ms", 500),
        ("500", "499", "1s", 500),
        ("500", "500", "0s", 500),
        ("500", "499", "soon", 500),
    ],
)
def test_a_limit_of_a_day_is_not_taken_for_one_of_a_minute(limit, left, reset, per_minute):
    rate = read(
        x_ratelimit_limit_requests=limit,
        x_ratelimit_remaining_requests=left,
        x_ratelimit_reset_requests=reset,
    )
    assert rate.requests_per_minute == per_minute


def test_openai_says_limits_and_when_the_exhausted_ones_are_reset():
    rate = read_rate_headers(OPENAI, now=NOW)
    assert (rate.requests_per_minute, rate.tokens_per_minute) == (500, 30_000)
    assert (rate.requests_left, rate.tokens_left) == (None, None)  # no window to fill at once
    assert rate.retry_after_s == 360


@pytest.mark.parametrize(
    ("changed", "wait_s"),
    [
        ({"x-ratelimit-remaining-tokens": "12"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "12", "x-ratelimit-remaining-requests": "3"}, None),
        ({"x-ratelimit-reset-tokens": "soon"}, 0.12),
        ({"x-ratelimit-reset-tokens": "soon", "x-ratelimit-reset-requests": ""}, None),
    ],
)
def test_only_an_exhausted_limit_with_a_readable_reset_is_waited_for(changed, wait_s):
    assert read_rate_headers(OPENAI | changed, now=NOW).retry_after_s == wait_s


def test_an_exhausted_limit_without_a_reset_names_no_wait():
    assert read(x_ratelimit_remaining_requests="0").retry_after_s is None


def test_silence_is_no_limit():
    rate = read()
    assert (rate.requests_per_minute, rate.tokens_per_minute) == (None, None)
    assert not rate.forbidden


@pytest.mark.parametrize("value", ["", "-1", "many", "1.5", "50 "])
def test_a_limit_that_is_no_number_is_no_limit(value):
    assert read(x_ratelimit_limit_req_minute=value).requests_per_minute is None


def test_a_refusal_for_requests_says_nothing_of_tokens():
    rate = read(x_ratelimit_limit_req_minute="4", x_ratelimit_remaining_req_minute="0")
    assert (rate.requests_per_minute, rate.tokens_per_minute) == (4, None)


@pytest.mark.parametrize(
    "name",
    [
        "x-ratelimit-limit-req-minute",
        "x-ratelimit-limit-tokens-minute",
        "x-ratelimit-limit-requests",
        "x-ratelimit-limit-tokens",
    ],
)
def test_a_limit_of_zero_forbids_for_ever(name):
    assert read_rate_headers({name: "0"}, now=NOW).forbidden


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.25", 0.25),
        ("0", 0.0),
        ("-5", 0.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 12:00:30", 30.0),
        ("Sun, 22 Nov 2026 14:00:30 +0200", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        (" ", None),
        ("inf", None),
        ("1e999", None),
        ("nan", None),
        ("Sun, 99 Nov 2026 99:00:30 GMT", None),
        ("Sun, 22 Nov 9999999999999999999 12:00:30 GMT", None),
        ("Sun, 22 Nov 2026 12:00:30 +99999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_garbage(value, wait_s):
    assert read(retry_after=value).retry_after_s == wait_s


def test_milliseconds_are_more_exact_than_seconds():
    assert read(retry_after_ms="1500", retry_after="2").retry_after_s == 1.5
    assert read(retry_after_ms="soon", retry_after="2").retry_after_s == 2.0


def test_the_named_wait_goes_before_the_reset():
    assert read_rate_headers(OPENAI | {"retry-after": "3"}, now=NOW).retry_after_s == 3


@given(st.text() | st.text('a"\ud800\udfff'))
def test_no_header_breaks_the_reading(value):
    rate = read(retry_after=value, x_ratelimit_limit_requests=value)
    assert rate.retry_after_s is None or rate.retry_after_s >= 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12ms", 0.012),
        ("1s", 1),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        (" 1s ", 1),
        ("", None),
        ("1", None),
        ("1s later", None),
        ("1d", None),
        ("-1s", None),
    ],
)
def test_durations_are_read_in_openais_spelling(text, seconds):
    assert duration_s(text) == (seconds if seconds is None else pytest.approx(seconds))


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_written_is_the_duration_read(hours, minutes, seconds, milliseconds):
    written = f"{hours}h{minutes}m{seconds}s{milliseconds}ms"
    total_s = hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    assert duration_s(written) == pytest.approx(total_s)
