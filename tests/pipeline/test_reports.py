"""What processes tell the one that leads a run."""

import pytest

from vision_pipeline.core.activity import Stage
from vision_pipeline.pipeline.progress import Progress
from vision_pipeline.pipeline.reports import Reporter, add, show


def raised(progress, rows):
    """Work that some rows took."""
    progress.worked += rows
    progress.ok += rows - 1
    progress.errors["timeout"] += 1
    progress.cost_usd += 0.25 * rows
    progress.activity.sent += rows
    progress.activity.seconds[Stage.ENDPOINT] += 2.0


def test_a_report_tells_what_came_since_the_last_one():
    workers = [Progress(), Progress()]
    reporters = [Reporter(each) for each in workers]
    leader = Progress(total=100)
    for _ in range(2):
        for worker in workers:
            raised(worker, 10)
        for reporter in reporters:
            add(leader, reporter.report())
    add(leader, reporters[0].report())
    assert (leader.done, leader.worked, leader.ok, leader.failed) == (40, 40, 36, 4)
    assert leader.cost_usd == pytest.approx(10.0)
    assert leader.activity.sent == 40
    assert leader.activity.seconds[Stage.ENDPOINT] == pytest.approx(8.0)


def test_what_is_going_on_is_the_sum_over_all_processes_at_the_moment():
    workers = [Progress(), Progress()]
    for in_flight, worker in enumerate(workers, 3):
        worker.activity.in_flight = worker.activity.most_in_flight = in_flight
        worker.activity.room = 10 * in_flight
        worker.activity.requests.used = 100.0
    leader = Progress()
    for _ in range(2):
        reports = [Reporter(each).report() for each in workers]
        show(leader, reports)
    for report in reports:
        add(leader, report)
    activity = leader.activity
    assert (activity.in_flight, activity.most_in_flight, activity.room) == (7, 4, 30)
    assert activity.requests.used == 200.0
    show(leader, [])
    assert (activity.in_flight, activity.most_in_flight, activity.room) == (0, 4, 30)


def test_why_nothing_moves_is_told_where_nothing_moves_anywhere():
    workers = [Progress(), Progress()]
    leader = Progress()
    for number, worker in enumerate(workers):
        worker.activity.outage = (worker.activity.now_s() - 40, f"cause {number}")
    show(leader, [Reporter(each).report() for each in workers])
    assert leader.activity.news == "no answer for 40 s (cause 0)"
    workers[1].activity.outage = None
    show(leader, [Reporter(each).report() for each in workers])
    assert leader.activity.news == ""


def test_rows_that_were_done_twice_do_not_make_a_run_more_than_whole():
    leader = Progress(total=10, done=5)
    worker = Progress(worked=8)
    add(leader, Reporter(worker).report())
    assert leader.done == 10


def test_a_leader_whose_clock_is_halted_charges_no_time_of_its_own():
    now_s = 0.0
    activity = Progress().activity
    activity.now_s = lambda: now_s
    activity.begin()
    now_s = 1.0
    activity.halt()
    now_s = 50.0
    activity.halt()
    activity.charge()
    assert sum(activity.seconds.values()) == 1.0
