"""How many requests at once."""

from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.concurrency import CAREFUL_START, START, Concurrency


def rounds(concurrency, number, latency_s):
    """Answers by the roundful, each of which takes as long as `latency_s` says of the bound."""
    for _ in range(number):
        bound = concurrency.bound
        for _ in range(bound):
            concurrency.answered(latency_s(bound), in_flight=bound)


def test_a_server_that_stays_as_fast_is_used_to_the_full():
    concurrency = Concurrency(256, start=CAREFUL_START)
    rounds(concurrency, 7, lambda _: 0.5)
    assert concurrency.bound == 256


def test_the_bound_doubles_with_each_round_at_first():
    concurrency = Concurrency(256, start=4)
    rounds(concurrency, 1, lambda _: 0.5)
    assert concurrency.bound == 8


def test_a_server_that_gets_slower_is_not_flooded():
    """One that serves 20 at a time: more in flight only wait."""
    concurrency = Concurrency(1024, start=CAREFUL_START)
    rounds(concurrency, 40, lambda bound: 0.5 * max(1, bound / 20))
    assert 20 <= concurrency.bound <= 40


def test_a_server_that_serves_one_at_a_time_gets_one_or_two():
    concurrency = Concurrency(64, start=START)
    rounds(concurrency, 400, lambda bound: 0.5 * bound)
    assert 1 <= concurrency.bound <= 2


def test_one_at_a_time_that_gets_slower_is_no_reason_for_more():
    concurrency = Concurrency(64, start=START)
    for _ in range(20):
        concurrency.overloaded()
    rounds(concurrency, 400, lambda bound: 0.5 * bound)
    rounds(concurrency, 400, lambda bound: 5.0 * bound)
    assert concurrency.bound <= 3


def test_latency_that_rises_whatever_is_in_flight_is_got_used_to():
    concurrency = Concurrency(64, start=CAREFUL_START)
    rounds(concurrency, 10, lambda _: 0.5)
    rounds(concurrency, 10, lambda _: 5.0)
    assert concurrency.bound == 64


def test_only_latency_that_has_risen_for_longer_is_looked_into():
    concurrency = Concurrency(64, start=START)
    rounds(concurrency, 10, lambda _: 0.5)
    bounds = []
    for latency_s in (5.0, 0.5, 0.5, 0.5, 0.5):
        rounds(concurrency, 1, lambda _, latency_s=latency_s: latency_s)
        bounds.append(concurrency.bound)
    assert bounds == [64] * 5


def test_a_few_slow_answers_say_nothing():
    concurrency = Concurrency(64, start=START)
    rounds(concurrency, 10, lambda _: 0.5)
    for number in range(2000):
        concurrency.answered(60.0 if number % 8 == 0 else 0.5, in_flight=64)
        assert concurrency.bound == 64


def test_a_wrong_guess_of_the_cause_does_not_last():
    """A server of 20 that slowed down just as it was looked at."""
    concurrency = Concurrency(64, start=START)
    rounds(concurrency, 20, lambda _: 0.1)
    rounds(concurrency, 4, lambda _: 1.6)
    rounds(concurrency, 80, lambda bound: 0.5 * max(1, bound / 20))
    assert 20 <= concurrency.bound <= 40


def test_a_full_server_gets_less_and_later_more_again():
    concurrency = Concurrency(64, start=START)
    rounds(concurrency, 2, lambda _: 0.5)
    concurrency.overloaded()
    assert 40 <= concurrency.bound <= 45
    rounds(concurrency, 5, lambda _: 0.5)
    assert concurrency.bound == 64


def test_answers_while_little_is_in_flight_say_nothing():
    concurrency = Concurrency(64, start=8)
    for _ in range(100):
        concurrency.answered(0.5, in_flight=1)
    assert concurrency.bound == 8


def test_known_limits_end_the_careful_start_and_nothing_else():
    concurrency = Concurrency(64, start=CAREFUL_START)
    concurrency.known()
    assert concurrency.bound == START
    for _ in range(10):
        concurrency.overloaded()
    concurrency.known()
    assert concurrency.bound == 1


@given(
    st.integers(1, 1024),
    st.lists(st.one_of(st.none(), st.tuples(st.floats(0, 200), st.integers(1, 1024)))),
)
def test_the_bound_stays_within_its_bounds(most, steps):
    concurrency = Concurrency(most, start=START)
    for step in steps:
        if step is None:
            concurrency.overloaded()
        else:
            concurrency.answered(step[0], in_flight=step[1])
        assert 1 <= concurrency.bound <= most
