from datetime import UTC, datetime, timedelta

import pytest

from vision_pipeline.core.owner import Owner

NOW = datetime(2026, 11, 25, 21, 35, 43, tzinfo=UTC)
OWNER = Owner(host="node-7", pid=4242, work="run of receipts", since=NOW, mark="t")
BEATING = Owner("node-7", 4242, "run of receipts", NOW, run_id="r1", mark="t", beat_at=NOW)


@pytest.mark.parametrize("owner", [OWNER, BEATING])
def test_an_owner_comes_back_from_json(owner):
    assert Owner.from_dict(owner.to_dict()) == owner


@pytest.mark.parametrize(
    "document", [{}, [], {"since": "now"}, OWNER.to_dict() | {"since": None, "pid": "x"}]
)
def test_anything_else_is_no_owner(document):
    with pytest.raises(ValueError):  # noqa: PT011  (also of Python's own parsers)
        Owner.from_dict(document)


@pytest.mark.parametrize(
    ("later", "ago"),
    [
        (timedelta(seconds=-3), "0 s ago"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=12), "12 min ago"),
        (timedelta(hours=5), "5 h ago"),
        (timedelta(days=3), "3 d ago"),
    ],
)
def test_a_line_tells_who_what_and_since_when(later, ago):
    told = OWNER.told(NOW + later)
    assert told == (
        "run of receipts (still planning), process 4242 on node-7, "
        f"since 2026-11-25 21:35:43 UTC ({ago})"
    )


def test_a_line_names_the_run_and_the_last_sign_of_life():
    told = BEATING.told(NOW + timedelta(seconds=9))
    assert told.startswith("run of receipts (r1), process 4242")
    assert told.endswith("last sign of life 9 s ago")


def test_only_who_beats_grows_old():
    later = NOW + timedelta(seconds=70)
    assert (OWNER.age_s(later), BEATING.age_s(later)) == (0.0, 70.0)
