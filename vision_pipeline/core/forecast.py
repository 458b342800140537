"""What is to be expected of many items, from what was seen of some."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure that is not known yet: what is likely, and between which bounds it lies."""

    low: float
    likely: float
    high: float

    def __add__(self, other: Interval) -> Interval:
        """Of two sums; as if both erred to the same side, so that it is never too narrow."""
        return Interval(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, factor: float) -> Interval:
        """Of a factor that is not negative."""
        return Interval(self.low * factor, self.likely * factor, self.high * factor)


def exactly(value: float) -> Interval:
    """What is known."""
    return Interval(value, value, value)


@dataclass(frozen=True, slots=True)
class Moments:
    """How some values are spread.

    Attributes:
        count: At least 0.
        total: Their sum.
        squares: The sum of their squares.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        """Of both sets of values."""
        return Moments(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )

    @property
    def mean(self) -> float:
        """0 where there is no value."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """Unbiased; 0 for fewer than two values."""
        if self.count < 2:  # noqa: PLR2004  (one value has no spread)
            return 0.0
        return max(0.0, (self.squares - self.total * self.mean) / (self.count - 1))

    def of_sum(self, items: int, *, most: float, least: float = 0.0) -> Interval:
        """The sum of as many further values of the same kind, in 95 of 100 cases.

        By Student's distribution for the mean of new normal values, `s sqrt(m + m²/n)` about `m`
        times the mean seen. From fewer than two values nothing is known but the bounds.

        Args:
            items: How many further values, m.
            most: The most that one of them can be.
            least: The least.
        """
        if self.count < 2:  # noqa: PLR2004
            likely = items * (self.mean if self.count else most)
            return Interval(items * least, likely, items * most)
        spread = sqrt(self.variance * (items + items * items / self.count))
        off = _student(self.count - 1) * spread
        likely = items * self.mean
        return Interval(max(items * least, likely - off), likely, min(items * most, likely + off))


NONE = Moments()


def moments(values: Iterable[float]) -> Moments:
    """Those of some values."""
    listed = list(values)
    return Moments(len(listed), sum(listed), sum(value * value for value in listed))


def _student(freedom: int) -> float:
    """Two-sided quantile of Student's distribution: Abramowitz and Stegun 26.7.5.

    Within 1 % from four degrees of freedom on; below that the first terms fall short, and exact
    values stand in.
    """
    exact = {1: 12.706, 2: 4.303, 3: 3.182}  # at CONFIDENCE
    if freedom in exact:
        return exact[freedom]
    x = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    first = (x**3 + x) / 4
    second = (5 * x**5 + 16 * x**3 + 3 * x) / 96
    third = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
    return x + first / freedom + second / freedom**2 + third / freedom**3
