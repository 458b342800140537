"""A rate learned from refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.rates import LearnedRate


def sent(rate, number, *, start_s, end_s):
    for each in range(number):
        rate.sent(start_s + (end_s - start_s) * each / number)


def test_without_a_refusal_there_is_no_rate():
    rate = LearnedRate(now_s=0)
    sent(rate, 1000, start_s=0, end_s=60)
    assert rate.per_s is None


def test_the_first_refusal_tells_what_was_taken_in_about_a_second():
    rate = LearnedRate(now_s=0)
    sent(rate, 20, start_s=0, end_s=0.3)
    rate.refused(0.3)
    assert rate.per_s == 20


def test_between_two_refusals_the_rate_is_what_flowed_in():
    rate = LearnedRate(now_s=0)
    sent(rate, 20, start_s=0, end_s=0.3)
    rate.refused(0.3)
    sent(rate, 100, start_s=1, end_s=5)
    rate.refused(10.3)
    assert rate.per_s == pytest.approx(0.98 * 10)


def test_a_refusal_that_comes_soon_after_another_cuts():
    rate = LearnedRate(now_s=0)
    sent(rate, 20, start_s=0, end_s=1)
    rate.refused(1)
    sent(rate, 5, start_s=1, end_s=1.5)
    rate.refused(1.5)
    assert rate.per_s == pytest.approx(16)


def test_a_row_of_refusals_tells_no_more_than_its_first():
    rate = LearnedRate(now_s=0)
    rate.refused(1)
    assert rate.per_s is None
    sent(rate, 20, start_s=1, end_s=2)
    for now_s in range(2, 60):
        rate.refused(now_s)
    assert rate.per_s == 20


def test_what_was_refused_after_all_was_not_taken():
    rate = LearnedRate(now_s=0)
    sent(rate, 20, start_s=0, end_s=1)
    for _ in range(5):
        rate.untaken(0.5)
    rate.refused(1)
    assert rate.per_s == 15
    rate.untaken(0.9)  # sent before the refusal that was counted
    sent(rate, 40, start_s=1, end_s=3)
    rate.refused(3)
    assert rate.per_s == pytest.approx(0.98 * 20)


def test_a_rate_that_is_not_refused_grows_slowly_and_then_faster():
    rate = LearnedRate(now_s=0)
    sent(rate, 10, start_s=0, end_s=1)
    rate.refused(1)
    sent(rate, 300, start_s=1, end_s=31)
    near = rate.per_s
    assert 10 * 1.02**5 <= near <= 10 * 1.02**6
    sent(rate, 1200, start_s=31, end_s=90)
    assert rate.per_s > 4 * near


@given(st.lists(st.tuples(st.sampled_from("sru"), st.floats(0, 10)), max_size=100))
def test_a_rate_is_always_above_zero(steps):
    rate = LearnedRate(now_s=0)
    now_s = 0.0
    for what, pause_s in steps:
        now_s += pause_s
        if what == "s":
            rate.sent(now_s)
        elif what == "r":
            rate.refused(now_s)
        else:
            rate.untaken(now_s)
        assert rate.per_s is None or rate.per_s > 0
