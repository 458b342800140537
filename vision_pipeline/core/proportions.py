"""Shares of a sample, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb, sqrt
from statistics import NormalDist

from vision_pipeline.core.forecast import CONFIDENCE, Interval

_MOST_EXACT = 1000  # beyond it the normal approximation of a binomial is as good
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def allotted(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many to draw from each group: in proportion to its size, and one at least.

    Args:
        sizes: Of the groups, each at least 1.
        count: How many in all, at least 1; where there are more groups, the largest get one each.

    Returns:
        By group, in the order of sizes; the sum is `count`, or all that there is.
    """
    total = sum(sizes.values())
    largest = sorted(sizes, key=lambda name: -sizes[name])
    given = dict.fromkeys(largest[:count], 1)
    while sum(given.values()) < min(count, total):
        open_ = [name for name in given if given[name] < sizes[name]]
        # Whoever is furthest below its part is next (Adams' divisors).
        neediest = max(open_, key=lambda name: sizes[name] / given[name])
        given[neediest] += 1
    return {name: given[name] for name in sizes if name in given}


def wilson(hits: int, count: int) -> Interval:
    """A share and, by Wilson's score, the bounds that hold it in 95 of 100 samples.

    Args:
        hits: From 0 to `count`.
        count: From 0 on; of none, nothing is known: 0 to 1.
    """
    if not count:
        return Interval(0.0, 0.0, 1.0)
    share, squared = hits / count, _Z**2 / count
    middle = (share + squared / 2) / (1 + squared)
    off = _Z / (1 + squared) * sqrt(share * (1 - share) / count + squared / count / 4)
    # Rounding aside, the share lies within.
    return Interval(min(share, max(0.0, middle - off)), share, max(share, min(1.0, middle + off)))


def paired_gain(gained: int, lost: int, count: int) -> Interval:
    """How much larger a share is than before, among the same items, in 95 of 100 samples.

    By Agresti and Min (2005): Wald's interval with half an item more in each cell.

    Args:
        gained: Items that count now and did not before.
        lost: Items that counted before and do not now.
        count: All items, from 0 on; of none, nothing is known: -1 to 1.
    """
    if not count:
        return Interval(-1.0, 0.0, 1.0)
    up, down, all_ = gained + 0.5, lost + 0.5, count + 2
    gain = (up - down) / all_
    off = _Z * sqrt(up + down - (up - down) ** 2 / all_) / all_
    likely = (gained - lost) / count
    return Interval(max(-1.0, min(likely, gain - off)), likely, min(1.0, max(likely, gain + off)))


def chance_of_change(gained: int, lost: int) -> float:
    """How likely so uneven a change is by chance alone: McNemar's exact test, two-sided."""
    changed, fewer = gained + lost, min(gained, lost)
    if changed <= _MOST_EXACT:
        ways = sum(comb(changed, each) for each in range(fewer + 1))
        return min(1.0, 2 * ways / (1 << changed))
    return min(1.0, 2 * NormalDist(changed / 2, sqrt(changed) / 2).cdf(fewer + 0.5))
