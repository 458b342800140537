"""What a run is doing, and what its time went into."""

import pytest

from vision_pipeline.core.activity import Activity, Quota, Stage
from vision_pipeline.core.advice import advice


class Hand:
    """A clock that is moved by hand."""

    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def activity(hand):
    made = Activity(now_s=hand, room=2)
    made.begin()
    return made


def spent(activity):
    activity.charge()
    return {stage.value: seconds for stage, seconds in activity.by_stage()}


def test_what_the_next_request_waits_for_is_charged_whatever_else_goes_on(activity, hand):
    with activity.on_wire(), activity.prepares(), activity.stores():
        activity.hold(Stage.TOKEN_LIMIT)
        hand.now_s = 3
        activity.hold(Stage.TOKEN_LIMIT)
        hand.now_s = 5
        activity.hold(None)
    assert spent(activity) == {"token limit": 5}


def test_a_full_wire_is_the_endpoints_time_and_an_idle_one_that_of_preparation(activity, hand):
    with activity.prepares(), activity.on_wire():
        hand.now_s = 1
        with activity.on_wire():
            hand.now_s = 3
    assert spent(activity) == {"endpoint": 2, "preparation": 1}
    assert (activity.sent, activity.most_in_flight, activity.in_flight) == (2, 2, 0)


def test_the_last_answers_are_the_endpoints_time(activity, hand):
    with activity.on_wire():
        hand.now_s = 4
    assert spent(activity) == {"endpoint": 4}


def test_writing_and_what_is_neither_are_told_apart(activity, hand):
    with activity.stores():
        hand.now_s = 2
    hand.now_s = 3
    assert spent(activity) == {"storage": 2, "other": 1}


def test_nothing_is_charged_before_the_clock_is_started(hand):
    activity = Activity(now_s=hand)
    hand.now_s = 9
    with activity.on_wire():
        pass
    activity.begin()
    assert spent(activity) == {}


def test_what_ends_by_an_error_has_ended(activity):
    with pytest.raises(KeyError), activity.on_wire(), activity.prepares():
        raise KeyError
    assert (activity.in_flight, activity.preparing) == (0, 0)


@pytest.mark.parametrize(
    ("quota", "amount", "wait_s", "share"),
    [
        (Quota(), 100, None, None),
        (Quota(limit=60), 60, 0, 0),
        (Quota(limit=60, used=60), 30, 30, 1),
        (Quota(limit=60, used=90), 30, 30, 1.5),
        (Quota(limit=60, used=30), 90, 60, 0.5),
        (Quota(limit=60, used=60, frees_at_s=159), 30, 59, 1),
        (Quota(limit=60, used=60, frees_at_s=101), 30, 30, 1),
        (Quota(limit=60, used=60, frees_at_s=159), 90, 119, 1),
        (Quota(limit=60, used=10, frees_at_s=159), 30, 0, 1 / 6),
    ],
)
def test_a_quota_tells_its_share_and_how_long_more_takes(quota, amount, wait_s, share):
    assert (quota.wait_s(amount, 100), quota.share) == (wait_s, share)


def test_what_nothing_moves_for_is_told_as_of_now(activity, hand):
    activity.hold(Stage.TOKEN_LIMIT, until_s=30)
    assert activity.news == "the token limit frees in 30 s"
    hand.now_s = 12
    assert activity.news == "the token limit frees in 18 s"
    hand.now_s = 29
    assert activity.news == ""  # no news
    activity.hold(Stage.PAUSE, until_s=40)
    assert activity.news == "the server is busy, next try in 11 s"
    activity.hold(Stage.CHUNKS, until_s=49)
    assert activity.news == "the next chunk begins in 20 s"
    activity.hold(Stage.ENDPOINT)
    assert activity.news == ""
    activity.outage = (26, "HTTP 503")
    assert activity.news == ""  # some answer may still come
    activity.outage = (20, "HTTP 503")
    assert activity.news == "no answer for 9 s (HTTP 503)"


@pytest.mark.parametrize("stage", [each for each in Stage if each is not Stage.OTHER])
def test_there_is_advice_for_whatever_held_a_run_up(stage):
    assert advice({stage: 10.0, Stage.OTHER: 1.0}, is_full=True, has_shrunk=False)


def test_advice_for_slow_answers_depends_on_how_many_were_in_flight():
    seconds = {Stage.ENDPOINT: 10.0}
    assert "max_in_flight" in advice(seconds, is_full=True, has_shrunk=True)
    assert "slower" in advice(seconds, is_full=False, has_shrunk=True)
    assert advice(seconds, is_full=False, has_shrunk=False) == "the server's answers bind"


@pytest.mark.parametrize("seconds", [{}, {Stage.ENDPOINT: 0.2}, {Stage.OTHER: 99.0}])
def test_what_is_too_short_or_nobodys_fault_gets_no_advice(seconds):
    assert advice(seconds, is_full=True, has_shrunk=False) == ""
