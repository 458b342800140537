import pytest

from vision_pipeline.core.forecast import Interval
from vision_pipeline.core.proportions import allotted, chance_of_change, paired_gain, wilson


def bounds(interval):
    return pytest.approx((interval.low, interval.high), abs=5e-4)


# Newcombe (1998), table I, method 3.
@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_bounds_are_those_of_the_literature(hits, count, low, high):
    interval = wilson(hits, count)
    assert bounds(interval) == (low, high)
    assert interval.likely == hits / count


def test_of_no_item_nothing_is_known():
    assert wilson(0, 0) == Interval(0, 0, 1)
    assert paired_gain(0, 0, 0) == Interval(-1, 0, 1)


def test_all_right_is_never_more_than_all():
    assert wilson(7, 7).high == 1


def test_a_paired_gain_has_bounds_around_it():
    gain = paired_gain(36, 22, 200)
    assert gain.likely == pytest.approx(0.07)
    assert gain.low < 0 < gain.likely < gain.high
    assert paired_gain(22, 36, 200) == Interval(-gain.high, -gain.likely, -gain.low)
    assert paired_gain(5, 0, 5).high == 1


def test_chance_of_an_uneven_change_is_mcnemars():
    assert chance_of_change(0, 0) == 1
    assert chance_of_change(3, 3) == 1
    assert chance_of_change(0, 5) == chance_of_change(5, 0) == 2 / 32
    assert chance_of_change(1, 9) == pytest.approx(22 / 1024)


def test_many_changes_are_taken_as_normal():
    exact = chance_of_change(470, 530)
    assert chance_of_change(471, 531) == pytest.approx(exact, rel=0.02)
    assert chance_of_change(1000, 1000) == 1


def test_draws_are_allotted_in_proportion_and_one_at_least():
    assert allotted({"a": 90, "b": 9, "c": 1}, 10) == {"a": 8, "b": 1, "c": 1}
    assert allotted({"a": 50, "b": 50}, 10) == {"a": 5, "b": 5}
    assert allotted({"a": 1, "b": 5, "c": 3}, 2) == {"b": 1, "c": 1}
    assert allotted({"a": 2, "b": 1}, 9) == {"a": 2, "b": 1}
