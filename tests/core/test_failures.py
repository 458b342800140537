"""Which failures of a request are its own."""

import math

from vision_pipeline.core.failures import Failures


def failing(*moments, served_s=-math.inf):
    failures = Failures()
    for now_s in moments:
        failures.add(now_s, served_s=served_s)
    return failures


def test_failures_that_nobody_can_judge_count_once():
    failures = failing(1, 2, 3, 4, served_s=0.5)
    assert failures.own == 1
    assert not failures.is_own(served_s=4)
    assert failures.is_own(served_s=4.1)


def test_all_count_where_the_server_never_served_anybody():
    failures = failing(1, 2, 3, served_s=math.inf)
    assert failures.own == 3
    assert failures.is_own(served_s=math.inf)


def test_each_counts_once_others_were_served_that_were_sent_after_one():
    failures = failing(1, 2, served_s=0)
    failures.add(3, served_s=2.5)
    failures.add(4, served_s=2.5)
    assert failures.own == 3
    assert failures.is_own(served_s=2.5)


def test_what_was_sent_before_a_failure_proves_nothing():
    failures = failing(5, served_s=4)
    failures.add(6, served_s=5)
    assert failures.own == 1
    assert not failures.is_own(served_s=5)
