from datetime import UTC, date, datetime

import pytest

from vision_pipeline.core.comparing.comparers import Comparer, Kind
from vision_pipeline.core.comparing.matches import Match
from vision_pipeline.core.comparing.spelling import parse_comparer
from vision_pipeline.core.comparing.text import words
from vision_pipeline.core.errors import ConfigError

NUMBERS = Comparer(Kind.NUMBER)
LINE = Comparer(Kind.STRUCT, leaves={"name": Comparer(Kind.TEXT), "price": Comparer(Kind.NUMBER)})


def right(comparer, truth, answer):
    return comparer.is_right(comparer.compare(truth, answer))


@pytest.mark.parametrize(
    ("spelled", "truth", "answer"),
    [
        ("exact", "A", "A"),
        ("exact", "5", 5),
        ("enum", "T-Shirt", "t_shirt"),
        ("enum", "+", " + "),
        ("boolean", "Yes", True),
        ("boolean", "0", False),
        ("number", "1,234.5", 1234.5),
        ("number", "12%", 12),
        ("number", "RM9.75", 9.75),
        ("number:0.5", 10, 10.5),
        ("number:1%", 200, 198),
        ("money:1", "€10", 11),
        ("datetime", "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("datetime", "2026-01-02 04:04:05+01:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("datetime", "2/1/2026", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("datetime:60", "2026-01-02T03:04:00", "2026-01-02T03:05:00"),
        ("text:0.5", "abcd", "abxx"),
        ("words", ["one two", "three"], "THREE, one two"),
        ("set", ["b", "a", "a"], ["A", "b"]),
        ("set", "a", ["a"]),
        ("set:0.5", ["a", "b"], ["a", "z"]),
        ("list", [1, 2.0], [2, 1.0]),
    ],
)
def test_these_are_right(spelled, truth, answer):
    comparer = parse_comparer(spelled, where="--compare")
    if spelled == "list":
        comparer = Comparer(Kind.LIST, element=NUMBERS)
    assert right(comparer, truth, answer)
    assert str(comparer) == spelled


@pytest.mark.parametrize(
    ("spelled", "truth", "answer"),
    [
        ("exact", "A", "a"),
        ("enum", "cash", "card"),
        ("enum", "+", "-"),
        ("boolean", "perhaps", True),
        ("boolean", True, "perhaps"),
        ("number", 10, 10.001),
        ("number:1%", 200, 197),
        ("datetime", "2026-01-02T03:04:00", "2026-01-02T03:05:00"),
        ("datetime", "late: very", datetime(2026, 1, 2, tzinfo=UTC)),
        ("words", "one two three four", "one two"),
        ("set", ["a", "b"], ["a"]),
        ("list", ["a", "a"], ["a"]),
    ],
)
def test_these_are_wrong(spelled, truth, answer):
    assert not right(parse_comparer(spelled, where="--compare"), truth, answer)


@pytest.mark.parametrize("kind", list(Kind))
def test_nothing_fits_nothing_alone(kind):
    comparer = Comparer(kind)
    for nothing in (None, " ", [], float("nan")):
        assert right(comparer, nothing, None)
        assert not right(comparer, nothing, "something")
        assert not right(comparer, "something", nothing)


def test_words_are_counted_as_often_as_they_stand():
    match = Comparer(Kind.WORDS).compare("a a b", "a b c")
    assert match == Match(pytest.approx(2 / 3), hits=2, wanted=3, given=3)


def test_words_are_runs_of_letters_and_digits_without_case():
    true = words("Total: RM9.75 \u2014 GST_ID café")
    assert list(true) == ["total", "rm9", "75", "gst", "id", "café"]


def test_an_element_takes_the_best_free_one_that_is_right():
    tens = Comparer(Kind.LIST, element=Comparer(Kind.TEXT, 0.7))
    match = tens.compare(["aaaaaaaaaa", "aaaaaaaabb"], ["aaaaaaabbb", "aaaaaaaaab", "zzz"])
    assert (match.hits, match.wanted, match.given) == (2, 2, 3)


def test_a_line_of_a_list_is_right_once_all_its_fields_are():
    lines = Comparer(Kind.LIST, element=LINE)
    truth = [{"name": "Plum tart", "price": 11.3}, {"name": "Tea", "price": 3.8}]
    answer = [{"name": "TEA", "price": "3.80"}, {"name": "Plum tart", "price": 11.0}]
    assert lines.compare(truth, answer) == Match(0.5, hits=1, wanted=2, given=2)


def test_a_struct_scores_the_share_of_its_fields():
    truth = {"name": "Tea", "price": 3.8}
    assert LINE.compare(truth, truth | {"price": 9}) == Match(0.5)
    assert LINE.compare(truth, "Tea") == Match(0.0)
    assert Comparer(Kind.STRUCT).compare({}, {"other": 1}) == Match(0.0)


def test_what_the_truth_shows_of_its_convention_settles_what_is_not_clear():
    day_first = Comparer(Kind.DATE).taught(["03/04/2018", "25/12/2018", "2018-05-06", "", None])
    assert day_first.convention == "day first"
    assert right(day_first, "03/04/2018", date(2018, 4, 3))
    assert not right(day_first, "03/04/2018", date(2018, 3, 4))
    assert right(day_first, "12/25/2018", date(2018, 12, 25))
    comma = Comparer(Kind.MONEY).taught(["1.234", "5,50 €", 7.5])
    assert right(comma, "1.234", 1234)
    assert not right(comma, "1.234", 1.234)
    assert right(Comparer(Kind.NUMBER).taught(["9.75"]), "1,234", 1234)


@pytest.mark.parametrize(
    "truths", [["03/04/2018"], ["25/12/2018", "12/25/2018"], [date(2018, 1, 2)], []]
)
def test_a_truth_that_shows_no_convention_leaves_both(truths):
    assert Comparer(Kind.DATE).taught(truths) == Comparer(Kind.DATE)
    assert Comparer(Kind.TEXT).taught(truths) == Comparer(Kind.TEXT)


def test_what_a_kind_cannot_read_is_told():
    assert not Comparer(Kind.NUMBER).can_read("nine")
    assert not Comparer(Kind.MONEY).can_read("nine")
    assert not Comparer(Kind.DATE).can_read("soon")
    assert not Comparer(Kind.DATETIME).can_read("soon")
    assert not Comparer(Kind.BOOLEAN).can_read("perhaps")
    assert Comparer(Kind.DATETIME).can_read(date(2026, 1, 2))
    assert Comparer(Kind.NUMBER).can_read(None)
    assert Comparer(Kind.TEXT).can_read(7)


@pytest.mark.parametrize(
    ("spelled", "told"),
    [
        ("monye", r"total: 'monye' is no way to compare; allowed: exact, .*did you mean `money`"),
        ("struct", "no way to compare"),
        ("date:1", "'1' is no limit of date; allowed: none, without the colon"),
        ("text:2", "allowed: 0 to 1, the least score"),
        ("text:90%", "'90%' is no limit of text"),
        ("number:-1", "allowed: the greatest difference, such as 0.01 or 1%"),
        ("money:inf", "'inf' is no limit of money"),
        ("datetime:soon", "allowed: seconds, from 0 on"),
    ],
)
def test_what_cannot_be_a_comparer_is_refused(spelled, told):
    with pytest.raises(ConfigError, match=told):
        parse_comparer(spelled, where="--compare total")
