"""Laws that hold for all dates and amounts."""

from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.comparing.amounts import read_amount
from vision_pipeline.core.comparing.comparers import Comparer, Kind
from vision_pipeline.core.comparing.dates import read_dates
from vision_pipeline.core.comparing.text import similarity

DAYS = st.dates(date(1970, 1, 1), date(2069, 12, 31))
FORMS = ["%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d", "%d.%m.%y", "%y%m%d", "%d %b %Y", "%B %d, %Y"]
SPELLED = [
    "{:,.2f}",
    "RM{:,.2f}",
    "{:.2f} EUR",
    "{swapped} €",
    "{apostrophes} CHF",
]


@given(DAYS, st.sampled_from(FORMS))
def test_a_date_is_among_the_meanings_of_how_it_is_written(day, form):
    assert day in read_dates(day.strftime(form)).values()


@given(DAYS, DAYS, st.sampled_from(FORMS))
def test_two_dates_written_alike_are_the_same_only_if_they_are(one, other, form):
    match = Comparer(Kind.DATE).compare(one.strftime(form), other.strftime(form))
    assert match.score == (one == other)


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(SPELLED))
def test_an_amount_is_among_the_meanings_of_how_it_is_written(amount, form):
    plain = f"{amount:,.2f}"
    swapped, apostrophes = plain.translate(str.maketrans(",.", ".,")), plain.replace(",", "'")
    text = form.format(amount, swapped=swapped, apostrophes=apostrophes)
    assert amount in read_amount(text).values.values()
    assert Comparer(Kind.MONEY).compare(text, float(amount)).score == 1


@given(st.text(max_size=80))
def test_whatever_is_read_is_read_without_an_error(text):
    read_dates(text)
    assert all(isinstance(each, Decimal) for each in read_amount(text).values.values())


@given(st.text(max_size=30), st.text(max_size=30))
def test_similarity_is_symmetric_and_between_0_and_1(one, other):
    assert 0 <= similarity(one, other) == similarity(other, one) <= 1
    assert similarity(one, one) == 1
