"""What becomes of a job, as arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.emulator.batch.timeline import Timeline

ORDER = ["QUEUED", "RUNNING", "CANCELLATION_REQUESTED", "END"]
MOMENTS = st.floats(0, 100)


def timelines(**moments):
    return st.builds(Timeline, created_s=st.just(0.0), start_s=MOMENTS, run_s=MOMENTS, **moments)


@given(
    timelines(deadline_s=MOMENTS, fails=st.booleans()),
    st.none() | MOMENTS,
    st.lists(MOMENTS, min_size=2),
)
def test_a_job_never_goes_back_and_never_loses_a_line(timeline, cancel_s, moments):
    seen = []
    for now_s in sorted(moments):
        if cancel_s is not None and now_s >= cancel_s:
            timeline.cancel(now_s, takes_s=10)
        status = timeline.status(now_s)
        place = ORDER.index(status) if status in ORDER else 3
        seen.append((place, timeline.due_lines(1000, now_s)))
    assert seen == sorted(seen)
    assert [due for _, due in seen] == sorted(due for _, due in seen)
    assert all(due == 0 for place, due in seen if place == 0)


@given(timelines(deadline_s=st.just(1000.0)))
def test_a_job_that_succeeds_has_all_of_its_lines(timeline):
    assert timeline.status(timeline.end_s) == "SUCCESS"
    assert timeline.due_lines(7, timeline.end_s) == 7
