"""Waits and paces as numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.limits import (
    BACKOFF_BASE_S,
    BACKOFF_CAP_S,
    PACE_PERIOD_S,
    backoff_s,
    pace,
)

jitters = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), jitters)
def test_backoff_stays_between_half_and_all_of_a_capped_power(attempt, jitter):
    full_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempt - 1, 100))
    assert full_s / 2 <= backoff_s(attempt, jitter=jitter) <= full_s


@given(st.integers(1, 10_000), jitters)
def test_backoff_never_shrinks(attempt, jitter):
    assert backoff_s(attempt, jitter=jitter) <= backoff_s(attempt + 1, jitter=jitter)


@given(st.floats(0.01, 100_000), st.floats(1, 100_000))
def test_a_pace_keeps_the_rate_and_holds_the_largest_amount(per_s, largest):
    spread = pace(per_s, largest=largest)
    assert spread.amount / spread.period_s == pytest.approx(per_s)
    assert spread.amount == pytest.approx(max(largest, per_s * PACE_PERIOD_S))
