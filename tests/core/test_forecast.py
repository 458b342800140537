"""What is to be expected of many, from some."""

import random
from statistics import mean, variance

import pytest

from vision_pipeline.core.forecast import NONE, Interval, Moments, _student, exactly, moments
from vision_pipeline.core.usage import Usage, usage_of

VALUES = [12.0, 15.0, 9.0, 30.0, 18.0]


def test_moments_tell_mean_and_unbiased_variance():
    found = moments(VALUES)
    assert found.count == 5
    assert found.mean == pytest.approx(mean(VALUES))
    assert found.variance == pytest.approx(variance(VALUES))


def test_moments_of_parts_add_up_to_those_of_all():
    assert moments(VALUES[:2]) + moments(VALUES[2:]) == moments(VALUES)
    assert NONE + moments(VALUES) == moments(VALUES)


def test_nothing_and_one_value_have_no_spread():
    assert (NONE.mean, NONE.variance) == (0.0, 0.0)
    assert (moments([7]).mean, moments([7]).variance) == (7.0, 0.0)


def test_equal_values_have_none_either_for_all_that_floats_round():
    assert moments([0.1] * 1000).variance == pytest.approx(0.0, abs=1e-12)
    assert Moments(3, 0.3, 0.03 - 1e-9).variance == 0.0


@pytest.mark.parametrize(
    ("freedom", "exact"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (1000, 1.962)],
)
def test_the_quantile_of_student_is_that_of_the_tables(freedom, exact):
    assert _student(freedom) == pytest.approx(exact, rel=0.005)


@pytest.mark.parametrize(("seen", "further"), [(2, 5), (5, 100), (30, 10), (200, 5000)])
def test_the_interval_holds_the_sum_in_95_of_100_cases(seen, further):
    dice = random.Random(seen)
    held = 0
    for _ in range(400):
        known = moments(dice.gauss(100, 25) for _ in range(seen))
        interval = known.of_sum(further, most=1e9, least=-1e9)
        assert interval.low <= interval.likely <= interval.high
        held += interval.low <= sum(dice.gauss(100, 25) for _ in range(further)) <= interval.high
    assert 365 <= held <= 395  # 380 are expected, with a deviation of 4.4


def test_the_interval_stays_within_what_is_possible():
    wild = moments([0, 0, 0, 1000])
    assert wild.of_sum(10, most=1000).low == 0.0
    assert wild.of_sum(10, most=300).high == 3000.0
    assert moments([-5, -5, -6]).of_sum(10, most=9, least=-5.5).low == -55.0


def test_of_fewer_than_two_values_only_the_bounds_are_known():
    assert NONE.of_sum(10, most=50) == Interval(0.0, 500.0, 500.0)
    assert moments([20]).of_sum(10, most=50) == Interval(0.0, 200.0, 500.0)


def test_intervals_add_and_scale():
    assert Interval(1, 2, 4) + exactly(3) == Interval(4, 5, 7)
    assert Interval(1, 2, 4) * 0.5 == Interval(0.5, 1, 2)


def test_usage_adds_up_and_keeps_what_it_is_of():
    one = Usage(moments([10, 20]), moments([1, 2]), 3.0, 2, basis="this question")
    both = one + Usage(moments([30]), moments([3]), 3.0, 1)
    assert (both.replies, both.output_tokens.mean, both.extra_tokens.mean) == (3, 20, 2)
    assert (both.mean_latency_s, both.basis) == (2.0, "this question")
    assert Usage().mean_latency_s == 0.0


def test_replies_of_batch_jobs_tell_of_no_latency():
    of_batch = usage_of(prompt_tokens=10, completion_tokens=5, estimated_tokens=10, latency_s=0.0)
    at_once = usage_of(prompt_tokens=10, completion_tokens=5, estimated_tokens=10, latency_s=2.0)
    assert (of_batch + at_once).mean_latency_s == 2.0
    assert of_batch.mean_latency_s == 0.0
