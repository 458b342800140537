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
    rate.refused(0.3, in_a_row=True)
    assert rate.per_s == 20


def test_between_two_refusals_the_rate_is_what_flowed_in():
    rate = LearnedRate(now_s=0)
    sent(rate, 20, start_s=0, end_s=0.3)
    rate.refused(0.3, in_a_row=True)
    sent(rate, 100, start_s=1, end_s=5)
    rate.refused(10.3, in_a_row=True)
    assert rate.per_s == pytest.approx(0.98 * 10)


def test_a_refusal_that_comes_soon_after_another_cuts():
    rate = LearnedRate(now_s=0)
    sent(rate, 20, start_s=0, end_s=1)
    rate.refused(1, in_a_row=True)
    sent(rate, 5, start_s=1, end_s=1.5)
    rate.refused(1.5, in_a_row=True)
    assert rate.per_s == pytest.approx(16)


def test_a_row_of_refusals_tells_no_more_than_its_first():
    rate = LearnedRate(now_s=0)
    rate.refused(1, in_a_row=True)
    assert rate.per_s is None
    sent(rate, 20, start_s=1, end_s=2)
    for now_s in range(2, 60):
        rate.refused(now_s, in_a_row=True)
    assert rate.per_s == 20


def test_what_was_refused_after_all_was_not_taken():
    rate = LearnedRate(now_s=0)
    sent(rate, 20, start_s=0, end_s=1)
    for _ in range(5):
        rate.untaken(0.5)
    rate.refused(1, in_a_row=True)
    assert rate.per_s == 15
    rate.untaken(0.9)  # sent before the refusal that was counted
    sent(rate, 40, start_s=1, end_s=3)
    rate.refused(3, in_a_row=True)
    assert rate.per_s == pytest.approx(0.98 * 20)


def at_rate(rate, per_s, *, start_s, end_s):
    sent(rate, round(per_s * (end_s - start_s)), start_s=start_s, end_s=end_s)


def found(rate, *, at_s=31):
    """A rate of 10/s that was measured: 20/s were tried, and most were refused."""
    at_rate(rate, 10, start_s=0, end_s=1)
    rate.refused(1, in_a_row=True)
    at_rate(rate, 10, start_s=1, end_s=at_s)
    rate.refused(at_s, in_a_row=True)
    assert rate.per_s == pytest.approx(9.8)


def test_a_measured_rate_that_is_not_refused_grows_slowly_and_then_faster():
    rate = LearnedRate(now_s=0)
    found(rate)
    at_rate(rate, 10, start_s=31, end_s=61)
    near = rate.per_s
    assert 9.8 * 1.02**5 <= near <= 9.8 * 1.02**6
    at_rate(rate, 20, start_s=61, end_s=120)
    assert rate.per_s > 4 * near


def test_a_guess_that_is_not_refused_doubles_up_to_a_bound():
    rate = LearnedRate(now_s=0)
    at_rate(rate, 10, start_s=0, end_s=1)
    rate.refused(1, in_a_row=True)
    at_rate(rate, 10, start_s=1, end_s=6.5)
    at_rate(rate, 20, start_s=6.5, end_s=11.6)
    assert rate.per_s == 40
    at_rate(rate, 10, start_s=11.7, end_s=100)
    assert rate.per_s == 40  # not tested, and not grown
    for second in range(100, 400):
        at_rate(rate, min(rate.per_s, 2e3), start_s=second, end_s=second + 1)
    assert rate.per_s <= 1e5


def by_chance(rate):
    """Fewer and fewer requests a second, and about one of 15 is refused all the same."""
    at_rate(rate, 100, start_s=0, end_s=2)
    limits = [rate.refused(2, in_a_row=False, is_certain=True)]
    start_s = 2.1
    for seconds in (2, 3, 4, 5):
        sent(rate, 15, start_s=start_s, end_s=start_s + seconds)
        start_s += seconds
        limits.append(rate.refused(start_s, in_a_row=False, is_certain=True))
    assert limits == [True, True, True, True, False]
    assert rate.per_s is None
    return start_s


def test_a_flow_that_is_less_each_time_is_no_limit_and_the_rate_is_restored():
    by_chance(LearnedRate(now_s=0))


def test_a_flow_that_is_each_time_the_same_is_a_limit():
    rate = LearnedRate(now_s=0)
    at_rate(rate, 100, start_s=0, end_s=2)
    for now_s in range(2, 60, 3):
        assert rate.refused(now_s, in_a_row=False, is_certain=True)
        at_rate(rate, 10, start_s=now_s, end_s=now_s + 3)
    assert rate.per_s == pytest.approx(0.98 * 10)


def test_few_requests_may_differ_by_one_and_be_the_same():
    rate = LearnedRate(now_s=0)
    sent(rate, 8, start_s=0, end_s=2)
    for now_s, number in zip(range(2, 30, 4), [3, 4, 5, 4, 3, 5, 4], strict=True):
        assert rate.refused(now_s, in_a_row=False, is_certain=True)
        sent(rate, number, start_s=now_s, end_s=now_s + 3.9)


def test_chance_is_borne_as_long_as_its_share_stays():
    rate = LearnedRate(now_s=0)
    now_s = by_chance(rate)
    rate.sent(now_s + 0.5)
    rate.sent(now_s + 6)  # too few requests to tell a share
    for second in range(6, 60):
        at_rate(rate, 15, start_s=now_s + second, end_s=now_s + second + 0.9)
        assert not rate.refused(now_s + second + 0.9, in_a_row=False)
    assert rate.per_s is None


def test_chance_is_believed_no_more_once_its_share_has_grown():
    rate = LearnedRate(now_s=0)
    now_s = by_chance(rate)
    for second in range(1, 12):
        at_rate(rate, 15, start_s=now_s + second, end_s=now_s + second + 0.9)
        for _ in range(4):
            is_limit = rate.refused(now_s + second + 0.9, in_a_row=False, is_certain=True)
    assert is_limit
    assert rate.per_s is not None


def test_a_row_of_refusals_is_no_chance():
    rate = LearnedRate(now_s=0)
    now_s = by_chance(rate)
    at_rate(rate, 15, start_s=now_s, end_s=now_s + 2)
    assert rate.refused(now_s + 2, in_a_row=True)
    assert rate.per_s is not None


def at_the_lowest_rate(*served):
    """Brought down by rows of refusals; then a refusal after each of so many served requests."""
    rate, now_s = LearnedRate(now_s=0), 0.0
    for _ in range(3):
        sent(rate, 2, start_s=now_s, end_s=now_s + 20)
        now_s += 20
        rate.refused(now_s, in_a_row=True)
    assert rate.per_s == 0.5
    limits = []
    for number in served:
        for _ in range(number + 1):
            now_s += 2
            rate.sent(now_s)
            rate.served()
        rate.untaken(now_s)
        limits.append(rate.refused(now_s, in_a_row=False, is_certain=True))
    return rate, now_s, limits


def test_at_the_lowest_rate_what_serves_and_refuses_by_turns_does_so_by_chance():
    rate, now_s, limits = at_the_lowest_rate(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    assert limits[-1] is False
    for second in range(100):
        at_rate(rate, max(rate.per_s, 1), start_s=now_s + second, end_s=now_s + second + 1)
        if rate.per_s > 100:
            break
    assert rate.per_s > 100


def test_at_the_lowest_rate_a_window_that_is_used_up_is_no_chance():
    _, _, limits = at_the_lowest_rate(0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0)
    assert all(limits)


def test_rows_of_refusals_are_chance_where_many_are_refused_and_not_for_long():
    rate, now_s, _ = at_the_lowest_rate(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    rows = []
    for _ in range(30):
        now_s += 0.1
        rate.sent(now_s)
        rows.append(rate.refused(now_s, in_a_row=True))
    assert rows[0] is False
    assert any(rows)


def groups(rate, sizes, *, per_s=100.0):
    """Three single refusals after so many requests each; the rate after each group."""
    now_s, rates = 0.0, []
    for size in sizes:
        at_rate(rate, per_s, start_s=now_s, end_s=now_s + size / per_s)
        now_s += size / per_s
        told = [rate.refused(now_s, in_a_row=False) for _ in range(3)]
        rates.append((told[-1], rate.per_s))
    return rates


def test_single_refusals_before_any_limit_was_seen_lower_the_rate_a_little():
    [(is_limit, per_s)] = groups(LearnedRate(now_s=0), [200])
    assert not is_limit
    assert per_s == pytest.approx(0.93 * 100)


def test_single_refusals_that_a_lower_rate_does_not_make_rarer_come_by_chance():
    rates = groups(LearnedRate(now_s=0), [200, 200, 200])
    assert [is_limit for is_limit, _ in rates] == [False, False, False]
    assert rates[-1][1] is None


def test_single_refusals_that_a_lower_rate_makes_rarer_are_the_work_of_a_limit():
    rates = groups(LearnedRate(now_s=0), [200, 1000])
    assert [is_limit for is_limit, _ in rates] == [False, True]
    assert rates[-1][1] is not None


def test_many_single_refusals_among_few_requests_are_the_work_of_a_limit_at_once():
    [(is_limit, per_s)] = groups(LearnedRate(now_s=0), [4])
    assert is_limit
    assert per_s is not None


def test_a_rate_that_was_kept_and_not_refused_is_not_taken_for_too_much():
    rate = LearnedRate(now_s=0)
    at_rate(rate, 10, start_s=0, end_s=1)
    rate.refused(1, in_a_row=True)
    at_rate(rate, 10, start_s=1, end_s=7)
    rate.refused(9, in_a_row=False)  # two seconds of which were a pause
    assert rate.per_s == pytest.approx(0.98 * 10)
    at_rate(rate, 10, start_s=9, end_s=14.5)
    assert 14 <= rate.per_s <= 15  # and grown by half of the step that was too much


@given(st.lists(st.tuples(st.sampled_from("srlu"), st.floats(0, 10)), max_size=100))
def test_a_rate_is_always_above_zero(steps):
    rate = LearnedRate(now_s=0)
    now_s = 0.0
    for what, pause_s in steps:
        now_s += pause_s
        if what == "s":
            rate.sent(now_s)
        elif what in "rl":
            rate.refused(now_s, in_a_row=what == "r", is_certain=pause_s > 5)
        else:
            rate.untaken(now_s)
        assert rate.per_s is None or rate.per_s > 0
