"""How long a run still takes."""

from time import monotonic

import pytest

from vision_pipeline.core.activity import Quota
from vision_pipeline.pipeline.progress import Progress


@pytest.fixture
def progress():
    """Half of 100 items done within ten seconds, each by a call of 1,000 tokens."""
    made = Progress()
    made.begin(100)
    made.begun_at_s = monotonic() - 10
    made.done = made.worked = made.calls = 50
    made.prompt_tokens, made.completion_tokens = 45_000, 5_000
    return made


def test_without_limits_the_rate_so_far_counts(progress):
    assert progress.left_s() == pytest.approx(10, abs=1)


def test_the_limit_that_binds_tells_the_time(progress):
    progress.activity.requests = Quota(limit=60, used=60)
    assert progress.left_s() == pytest.approx(50)
    progress.activity.tokens = Quota(limit=10_000, used=5_000)
    assert progress.left_s() == pytest.approx(270)


def test_limits_that_do_not_bind_leave_it_to_the_rate(progress):
    progress.activity.requests = Quota(limit=6000, used=50)
    assert progress.left_s() == pytest.approx(10, abs=1)


def test_of_a_quota_that_others_use_too_the_rate_so_far_tells_more_than_the_whole(progress):
    progress.activity.requests = Quota(limit=6000, used=6000, is_shared=True)
    assert progress.left_s() == pytest.approx(10, abs=1)
    progress.activity.requests = Quota(limit=60, used=60, is_shared=True)
    assert progress.left_s() == pytest.approx(50)


def test_what_the_ledger_answers_needs_no_quota(progress):
    progress.calls = 25
    progress.activity.requests = Quota(limit=60, used=60)
    assert progress.left_s() == pytest.approx(25)


@pytest.mark.parametrize("missing", ["total", "begun_at_s"])
def test_before_anything_is_done_nobody_knows(progress, missing):
    setattr(progress, missing, None)
    assert progress.left_s() is None
    progress.worked = 0
    assert progress.left_s() is None
