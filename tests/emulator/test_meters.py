"""Limits as arithmetic: windows, buckets, and a quota of two of them."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.emulator.limits import RateLimits
from vision_pipeline.emulator.meters import Bucket, Window, new_meter

KINDS = ["window", "second", "bucket"]
EIGHTH_S = 0.125  # exact as a float, so that borders are met exactly


def admitted_at(meter, moments_s):
    """The moments at which one request each is admitted."""
    admitted = []
    for now_s in moments_s:
        if meter.left(now_s) != 0:
            meter.spend(1, now_s)
            admitted.append(now_s)
    return admitted


def test_a_window_frees_what_is_sixty_seconds_old():
    window = Window(10)
    window.spend(4, 0.0)
    window.spend(5, 30.0)
    assert window.left(59.9) == 1
    assert window.left(60.0) == 5
    assert window.left(90.0) == 10


@given(
    st.integers(1, 8),
    st.lists(st.integers(0, 200), min_size=1, max_size=80),
    st.sampled_from([1.0, 60.0]),
)
def test_a_window_never_admits_more_than_its_limit_within_its_length(limit, gaps, length_s):
    window = Window(round(limit * 60 / length_s), nominal_s=length_s)
    moments_s = [sum(gaps[: number + 1]) * EIGHTH_S for number in range(len(gaps))]
    admitted = admitted_at(window, moments_s)
    for start_s in admitted:
        assert sum(start_s <= moment < start_s + length_s for moment in admitted) <= limit


@given(st.sampled_from(KINDS), st.integers(1, 600), st.lists(st.integers(1, 500), max_size=20))
def test_the_wait_that_a_meter_tells_is_the_wait_that_it_takes(kind, limit, amounts):
    meter = new_meter(kind, limit, burst_s=1.0)
    for number, amount in enumerate(amounts):
        meter.spend(amount, number * EIGHTH_S)
    now_s = len(amounts) * EIGHTH_S
    wait_s, full_s = meter.wait_s(now_s), meter.full_s(now_s)
    assert wait_s <= full_s + 1e-6
    assert (wait_s == 0) == (meter.left(now_s) > 0)
    if wait_s > 0.01:
        assert meter.left(now_s + wait_s - 0.005) == 0
    assert meter.left(now_s + wait_s + 1e-6) >= 1


@given(st.integers(6, 600), st.sampled_from([0.0, 1.0, 5.0]), st.integers(0, 99))
def test_the_long_run_rate_of_a_bucket_is_its_limit(limit, burst_s, seed):
    rng = Random(seed)
    moments_s = sorted(rng.uniform(0, 120) for _ in range(limit * 20))
    admitted = len(admitted_at(Bucket(limit, burst_s), moments_s))
    assert 1.6 * limit - 2 <= admitted <= 2 * limit + max(1, limit * burst_s / 60)


def test_a_bucket_that_is_always_asked_gives_exactly_its_rate():
    bucket = Bucket(90, 1.0)
    assert len(admitted_at(bucket, [number / 100 for number in range(60_001)])) == 900 + 1


def test_a_bucket_pays_its_debt_before_it_admits():
    bucket = Bucket(600, 1.0)
    bucket.spend(30, 0.0)  # holds 10 and gets 10 a second
    assert bucket.left(2.0) == 0
    assert bucket.wait_s(0.0) == pytest.approx(2.1)
    assert bucket.left(2.1) == 1
    assert bucket.full_s(0.0) == pytest.approx(3.0)


def test_a_second_holds_a_sixtieth_and_is_longer_for_less_than_one_request():
    assert admitted_at(Window(120, nominal_s=1.0), [0.0, 0.1, 0.2, 0.9, 1.0]) == [0.0, 0.1, 1.0]
    assert admitted_at(Window(30, nominal_s=1.0), [0.0, 1.0, 1.9, 2.0]) == [0.0, 2.0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_of_zero_admits_nothing_and_none_admits_all(kind):
    closed, opened = new_meter(kind, 0, burst_s=1.0), new_meter(kind, None, burst_s=1.0)
    opened.spend(1_000_000, 0.0)
    assert (closed.left(1e6), closed.wait_s(1e6), closed.full_s(1e6)) == (0, math.inf, math.inf)
    assert (opened.left(0.1), opened.wait_s(0.1)) == (None, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_limit_keeps_what_was_spent(kind):
    meter = new_meter(kind, 6000, burst_s=60.0 if kind == "bucket" else 1.0)
    meter.spend(40, 0.0)
    before = meter.left(0.0)
    meter.change(3000, 0.0)
    assert meter.left(0.0) == max(0, (before + 40) // 2 - 40)
    meter.change(6000, 0.0)
    assert meter.left(0.0) == before


def test_a_limit_that_is_set_later_finds_what_was_spent_before_it():
    window = Window(None)
    window.spend(9, 0.0)
    window.change(10, 30.0)
    assert window.left(30.0) == 1


def test_a_burst_passes_up_to_the_limit_and_is_refused_beyond():
    quota = RateLimits(requests_per_minute=4, tokens_per_minute=None).of("m")
    assert [quota.admit(0.0) for _ in range(5)] == [None] * 4 + ["requests"]


def test_tokens_are_debited_afterwards_so_that_a_window_overshoots():
    quota = RateLimits(requests_per_minute=None, tokens_per_minute=100).of("m")
    assert [quota.admit(0.0), quota.admit(0.0)] == [None, None]
    quota.settle(90, 1.0)
    quota.settle(90, 2.0)
    assert quota.tokens.left(2.0) == 0
    assert quota.admit(3.0) == "tokens"
    assert quota.admit(61.0) is None


def test_models_do_not_share_a_quota():
    limits = RateLimits(requests_per_minute=1, tokens_per_minute=None)
    assert [limits.of(name).admit(0.0) for name in ("a", "b", "a")] == [None, None, "requests"]
