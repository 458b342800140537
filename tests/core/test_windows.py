"""A provider's window, mirrored."""

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.windows import GAP_S, WINDOW_S, SlidingWindow


def window(limit, **settings):
    made = SlidingWindow(**settings)
    made.limit = limit
    return made


def test_an_empty_window_lets_a_burst_through_and_then_nothing():
    mirror = window(3)
    for _ in range(3):
        assert mirror.wait_s(10.0) == 0
        mirror.enter(1, 10.0)
    assert mirror.wait_s(12.0) == WINDOW_S - 2
    assert mirror.wait_s(10.0 + WINDOW_S) == 0


def test_the_oldest_entry_tells_when_it_falls_out():
    window = SlidingWindow(margin_s=1)
    assert window.frees_at_s is None
    window.limit = 10
    window.enter(1, 5)
    window.enter(1, 8)
    assert window.frees_at_s == 66
    window.told(0, 9)  # others have used some long before
    assert window.frees_at_s < 66


def test_without_a_limit_nothing_waits():
    mirror = SlidingWindow()
    mirror.enter(1_000_000, 0.0)
    mirror.told(0, 0.0)
    assert mirror.wait_s(0.0) == 0
    assert window(0).wait_s(0.0) == 0  # which the provider says itself


def test_an_own_share_is_kept_also_of_a_larger_limit():
    mirror = window(100, share=2)
    mirror.enter(1, 0.0)
    mirror.enter(1, 1.0)
    assert mirror.wait_s(2.0) == WINDOW_S - 2


def test_a_margin_keeps_entries_longer_and_refusals_widen_it_up_to_two_seconds():
    mirror = window(1, margin_s=0.5)
    mirror.enter(1, 0.0)
    assert mirror.wait_s(WINDOW_S) == 0.5
    mirror.widen()
    assert mirror.wait_s(WINDOW_S) == 0.75
    for _ in range(20):
        mirror.widen()
    assert mirror.wait_s(WINDOW_S) == 2


def test_anything_left_admits_a_request_of_any_size():
    """As the provider does it: tokens are debited afterwards."""
    mirror = window(1000)
    mirror.settle(0, 999, 0.0)
    assert mirror.wait_s(0.0) == 0
    mirror.settle(0, 500, 0.0)
    assert mirror.wait_s(0.0) == WINDOW_S


def test_what_is_reserved_counts_until_it_is_settled():
    mirror = window(1000)
    mirror.reserve(1000)
    assert mirror.wait_s(0.0) == math.inf
    mirror.settle(1000, 400, 5.0)
    assert (mirror.used(5.0), mirror.wait_s(5.0)) == (400, 0)
    mirror.reserve(300)
    mirror.settle(300, 0, 5.0)
    assert mirror.used(5.0) == 400


def test_what_was_not_counted_is_taken_back():
    mirror = window(1)
    entry = mirror.enter(1, 0.0)
    assert mirror.wait_s(1.0) > 0
    mirror.withdraw(entry)
    assert (mirror.used(1.0), mirror.wait_s(1.0)) == (0, 0)
    mirror.withdraw(entry)
    assert mirror.used(WINDOW_S + 1) == 0


def test_use_by_others_is_seen_and_falls_out_piece_by_piece():
    mirror = window(10)
    mirror.confirm(mirror.enter(1, 0.0))
    mirror.told(3, 0.0)
    assert mirror.used(0.0) == pytest.approx(7)
    mirror.told(0, 0.0)
    assert mirror.wait_s(0.0) == pytest.approx(10)  # the oldest sixth of it
    assert mirror.used(WINDOW_S) == 0


def test_use_by_others_that_has_ended_is_forgotten():
    mirror = window(10)
    mirror.told(0, 0.0)
    assert mirror.used(0.0) == pytest.approx(10)
    mirror.told(4, 0.0)
    assert mirror.used(0.0) == pytest.approx(6)
    mirror.told(10, 0.0)
    assert mirror.used(0.0) == pytest.approx(0)


def test_what_may_be_on_its_way_is_no_difference():
    mirror = window(10)
    for _ in range(4):
        mirror.enter(1, 0.0)
    for left in (10, 8, 6):
        mirror.told(left, 0.0)
        assert mirror.used(0.0) == 4
    mirror.reserve(3)
    mirror.told(3, 0.0)
    assert mirror.used(0.0) == 7


def test_a_window_that_was_emptied_is_believed_after_a_while():
    mirror = window(10)
    entries = [mirror.enter(1, 0.0) for _ in range(10)]
    for entry in entries[:8]:
        mirror.confirm(entry)
    mirror.told(6, 1.0)
    assert mirror.wait_s(1.0) > 0
    mirror.told(5, 1.0 + GAP_S / 2)  # the smallest difference of the time counts
    mirror.told(9, 1.0 + GAP_S)
    assert mirror.used(1.0 + GAP_S) == 7
    mirror.told(0, 3.0)
    assert mirror.used(3.0) == pytest.approx(10)


def test_a_difference_that_goes_away_is_none():
    mirror = window(10)
    for _ in range(5):
        mirror.confirm(mirror.enter(1, 0.0))
    mirror.told(6, 1.0)
    mirror.told(5, 1.5)
    mirror.told(6, 2.5)
    assert mirror.used(2.5) == 5


def test_a_difference_larger_than_what_is_sure_leaves_the_rest():
    mirror = window(10)
    mirror.enter(1, 0.0)
    mirror.confirm(mirror.enter(1, 0.0))
    mirror.limit = 1
    mirror.told(3, 1.0)
    mirror.told(3, 1.0 + GAP_S)
    assert mirror.used(2.0) == 1


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 0.2)), max_size=60),
)
def test_no_minute_at_the_provider_ever_holds_more_than_the_limit(limit, steps):
    """Requests that arrive up to 0.2 s after they were sent, each one by another while."""
    mirror = window(limit, margin_s=0.25)
    arrivals: deque[float] = deque()
    now_s = 0.0
    for pause_s, delay_s in steps:
        now_s += pause_s
        now_s += mirror.wait_s(now_s)
        mirror.enter(1, now_s)
        arrived_s = now_s + delay_s
        recent = [each for each in arrivals if each > arrived_s - WINDOW_S]
        assert len(recent) < limit
        arrivals.append(arrived_s)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("enter"), st.floats(0, 30)),
            st.tuples(st.just("told"), st.floats(0, 30)),
            st.tuples(st.just("settle"), st.floats(0, 30)),
        ),
        max_size=50,
    )
)
def test_whatever_answers_say_the_window_never_waits_for_ever(steps):
    mirror = window(5)
    now_s = 0.0
    for number, (what, pause_s) in enumerate(steps):
        now_s += pause_s
        if what == "enter":
            mirror.confirm(mirror.enter(1, now_s))
        elif what == "told":
            mirror.told(number % 9, now_s)
        else:
            mirror.settle(0, number % 3, now_s)
        assert 0 <= mirror.wait_s(now_s) <= WINDOW_S
        assert mirror.used(now_s) > -1e-6


def test_a_flood_of_entries_is_held_in_parts_of_a_second():
    mirror = window(10**9)
    for number in range(100_000):
        mirror.confirm(mirror.enter(1, number / 1000))
        assert mirror.wait_s(number / 1000) == 0
    assert 59_999 <= mirror.used(100.0) <= 60_049
    assert len(list(mirror._ends())) <= 60 / 0.05 + 2
    mirror.limit = 60_000
    assert mirror.wait_s(100.0) <= 0.05
