"""What refusals ask for, by number and by the server's word."""

import pytest

from vision_pipeline.core.errors import EndpointError, ErrorCode, ItemError, RetryableError
from vision_pipeline.core.pauses import Pauses, Wait

LIMIT = {"is_explained": False, "is_limit": True}
CHANCE = {"is_explained": False, "is_limit": False}
WINDOW = {"is_explained": True, "is_limit": True}


def refusal(*, wait_s=None, is_full=False):
    return RetryableError(
        ErrorCode.RATE_LIMITED, "429", retry_after_s=wait_s, is_rate_limit=True, is_full=is_full
    )


def test_a_limit_that_names_no_wait_pauses_all_ever_longer_up_to_a_minute():
    pauses = Pauses(patience_s=1e9)
    waits = [pauses.wait(0, refusal(), 0, **LIMIT).all_s for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_success_begins_anew():
    pauses = Pauses(patience_s=600)
    pauses.wait(0, refusal(), 0, **LIMIT)
    pauses.answered(1)
    assert pauses.wait(0, refusal(), 1, **LIMIT) == Wait(all_s=1)


def test_chance_makes_one_wait_alone_and_longer_each_time():
    pauses = Pauses(patience_s=600)
    waits = [pauses.wait(7, refusal(), 0, **CHANCE) for _ in range(3)]
    assert waits == [Wait(alone_s=1), Wait(alone_s=2), Wait(alone_s=4)]
    assert pauses.wait(8, refusal(), 0, **CHANCE) == Wait(alone_s=1)


def test_the_servers_word_counts_for_all():
    pauses = Pauses(patience_s=600)
    for why in (LIMIT, CHANCE, WINDOW):
        assert pauses.wait(0, refusal(wait_s=7), 0, **why) == Wait(all_s=7)


def test_a_window_says_itself_when_but_is_not_believed_twice():
    pauses = Pauses(patience_s=600)
    assert pauses.wait(0, refusal(), 0, **WINDOW) == Wait()
    assert pauses.wait(0, refusal(), 0, **WINDOW) == Wait(all_s=2)


@pytest.mark.parametrize("why", [LIMIT, CHANCE])
def test_a_full_server_gets_longer_pauses(why):
    wait = Pauses(patience_s=600).wait(0, refusal(is_full=True), 0, **why)
    assert max(wait.all_s, wait.alone_s) == 10


def test_refusals_for_longer_than_patience_are_the_servers_fault():
    pauses = Pauses(patience_s=100)
    pauses.wait(0, refusal(), 0, **LIMIT)
    with pytest.raises(EndpointError, match="refused by the rate limit for 99 s"):
        pauses.wait(0, refusal(), 99, **LIMIT)


def test_a_request_that_was_refused_while_others_were_served_is_given_up_when_patience_ends():
    pauses = Pauses(patience_s=100)
    pauses.wait(0, refusal(), 0, **LIMIT)
    for number in (1, 2, 3):
        pauses.answered(number)
    pauses.wait(0, refusal(), 1, **LIMIT)
    with pytest.raises(ItemError, match="refused 3 times while others were served") as given_up:
        pauses.wait(0, refusal(), 100, **LIMIT)
    assert given_up.value.code == "rate_limited"


def test_a_request_that_is_refused_ever_again_while_others_are_served_is_given_up():
    pauses = Pauses(patience_s=600)
    for _ in range(12):
        pauses.wait(0, refusal(), 0, **CHANCE)
        pauses.answered(1)
    pauses.answered(2)
    with pytest.raises(ItemError):
        pauses.wait(0, refusal(), 0, **CHANCE)


def test_few_served_between_many_refusals_are_a_low_limit_that_gives_nobody_up():
    pauses = Pauses(patience_s=600)
    for number in range(60):
        pauses.wait(0, refusal(), 60.0 * number, **LIMIT)
        if number % 5 == 0:
            pauses.answered(1)


def test_refusals_that_a_window_explains_give_nobody_up():
    pauses = Pauses(patience_s=600)
    for _ in range(50):
        pauses.wait(0, refusal(), 0, **WINDOW)
        pauses.answered(1)


def test_most_are_refused_once_more_than_half_of_a_few_were():
    pauses = Pauses(patience_s=600)
    assert [pauses.refused() for _ in range(4)] == [False, False, False, True]
    pauses.answered(1)
    pauses.answered(2)
    pauses.answered(3)
    assert pauses.refused()
    for number in range(4):
        pauses.answered(number)
    assert not pauses.refused()
    pauses.begun()
    assert not pauses.refused()
