"""What a selection may say, and how it reads."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from vision_pipeline.core.config_faults import explain
from vision_pipeline.core.errors import ErrorCode
from vision_pipeline.core.selection import ALL, FAILED, Selection


def fault(**parts):
    with pytest.raises(ValidationError) as caught:
        Selection.model_validate(parts)
    return [explain(each, root=Selection) for each in caught.value.errors()]


def test_nothing_said_takes_all():
    assert Selection() == ALL
    assert ALL.is_all
    assert ALL.told() == {}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T08:30", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
        ("2026-11-01T08:30:00+01:00", datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
        ("2026-11-01T08:30:00Z", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_of_utc_unless_it_says_otherwise(text, time):
    since = Selection(since=text).since
    assert since == time
    assert since.utcoffset() == (timedelta(hours=1) if "+" in text else timedelta())


def test_codes_stand_once_each_in_one_order():
    one = Selection(codes=("timeout", "invalid_answer", "timeout"))
    assert one == Selection(codes=(ErrorCode.INVALID_ANSWER, ErrorCode.TIMEOUT))
    assert one.told() == {"codes": ["invalid_answer", "timeout"]}
    assert set(FAILED.codes) == set(ErrorCode)


@pytest.mark.parametrize(
    ("parts", "is_dated", "is_cut", "looks_back"),
    [
        ({"since": "2026-01-01"}, True, False, False),
        ({"until": "2026-01-01"}, True, False, False),
        ({"start": 3}, False, True, False),
        ({"stop": 3}, False, True, False),
        ({"prompt": "receipt@1"}, False, False, True),
        ({"model": "m"}, False, False, True),
        ({"codes": ["timeout"]}, False, False, True),
    ],
)
def test_a_selection_knows_by_what_it_goes(parts, is_dated, is_cut, looks_back):
    found = Selection.model_validate(parts)
    assert (found.is_dated, found.is_cut, found.looks_back) == (is_dated, is_cut, looks_back)
    assert not found.is_all


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"since": "yesterday"}, "since: 'yesterday' is not allowed; allowed: a time such as"),
        ({"since": "20260201"}, "since: '20260201' is not allowed; allowed: a time such as"),
        ({"since": "1.5e9"}, "since: '1.5e9' is not allowed; allowed: a time such as"),
        ({"until": 2026}, "until: 2026 is not allowed; allowed: a time such as"),
        ({"model": ""}, "model: '' is not allowed; allowed: text that is not empty"),
        ({"since": "2026-02-30"}, "since: '2026-02-30' is not allowed; allowed: a time such as"),
        ({"since": "2026-02-01", "until": "2026-02-01"}, "`until` has to be later than `since`"),
        ({"start": 5, "stop": 5}, "`stop` has to be larger than `start`"),
        ({"start": -1}, "start: -1 is not allowed; allowed: a whole number from 0"),
        ({"stop": "x"}, "stop: 'x' is not allowed; allowed: a whole number from 1"),
        ({"date_column": "taken"}, "`date_column` needs `since` or `until`"),
        ({"prompt": "@2"}, "prompt: '@2' is not allowed; allowed: NAME or NAME@VERSION"),
        ({"prompt": "a@"}, "prompt: 'a@' is not allowed; allowed: NAME or NAME@VERSION"),
        ({"codes": ["tiemout"]}, "codes.0: 'tiemout' is not allowed; allowed: 'source_missing',"),
        ({"sinse": "2026-01-01"}, "sinse: unknown key; did you mean `since`?"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(parts, told):
    [line] = fault(**parts)
    assert line.startswith(told)
