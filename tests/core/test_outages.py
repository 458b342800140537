"""Whether requests fail by themselves, or the server does."""

from vision_pipeline.core.outages import LEAST_WAIT_S, MOST_WAIT_S, Outage


def failed(outage, number, *, requests=8, start_s=0.0):
    for each in range(number):
        outage.failed(each % requests, start_s + each)


def test_a_row_of_failures_of_several_requests_is_an_outage_from_its_beginning():
    outage = Outage()
    failed(outage, 7, start_s=10)
    assert outage.since_s is None
    outage.failed(7, 20)
    assert (outage.since_s, outage.first_s) == (10, 10)


def test_a_few_requests_that_fail_for_ever_are_no_outage():
    outage = Outage()
    failed(outage, 100, requests=7)
    assert outage.since_s is None


def test_an_answer_in_between_begins_anew():
    outage = Outage()
    for _ in range(10):
        failed(outage, 7)
        outage.answered()
    assert outage.since_s is None


def test_an_answer_ends_an_outage():
    outage = Outage()
    outage.answered()
    failed(outage, 20)
    outage.answered()
    assert outage.since_s is None
    failed(outage, 7, start_s=100)
    assert outage.since_s is None


def test_tries_get_rarer_with_the_length_of_an_outage_but_never_rare():
    outage = Outage()
    failed(outage, 8, start_s=100)
    waits = [outage.wait_s(now_s) for now_s in (108, 132, 196, 420, 100_000)]
    assert waits == [LEAST_WAIT_S, 1, 3, 10, MOST_WAIT_S]
