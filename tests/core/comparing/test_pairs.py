"""Pairs of a truth and an answer that a person would call the same, and pairs that differ."""

from datetime import UTC, date, datetime

import pytest

from vision_pipeline.core.comparing.comparers import Comparer, Kind

DAY = date(2018, 12, 25)

SAME_DATES = [
    ("25/12/2018", DAY),
    ("25-12-18", DAY),
    ("25.12.2018", DAY),
    ("12/25/2018", DAY),
    ("2018/12/25", DAY),
    ("20181225", DAY),
    ("25122018", DAY),
    ("181225", DAY),
    ("25 DEC 2018", DAY),
    ("Dec. 25th, 2018", DAY),
    ("Tuesday, December 25, 2018", DAY),
    ("25. Dezember 2018", DAY),
    ("25 décembre 2018", DAY),
    ("25 de diciembre de 2018", DAY),
    ("2018年12月25日", DAY),
    ("25/12/2018 10:42:07 AM", DAY),
    ("2018-12-25T10:42:00+08:00", DAY),
    ("25-Dec-18", DAY),
    ("18 Dec 25", DAY),
    ("25/12/2018", datetime(2018, 12, 25, 10, 42, tzinfo=UTC)),
    ("25/12/2018", "12/25/2018"),
    ("03/04/2018", date(2018, 4, 3)),
    ("03/04/2018", date(2018, 3, 4)),
    ("03/04/2018", "3-4-18"),
    ("03/04/2018", "3 April 2018"),
    ("07/07/1999", date(1999, 7, 7)),
    ("1/2/70", date(1970, 2, 1)),
]
OTHER_DATES = [
    ("03/04/2018", "04/03/2018"),
    ("25/12/2018", date(2018, 12, 24)),
    ("25/12/2018", "25/12/2017"),
    ("03/04/2018", date(2018, 5, 3)),
    ("31/02/2018", date(2018, 3, 3)),
    ("December 2018", DAY),
    ("25/12", DAY),
    ("yesterday", DAY),
    ("25/13/2018", "13/25/2018"),
    ("25 Foo 2018", DAY),
    ("25 Dec Jan 2018", DAY),
    ("3 Jui 2018", date(2018, 6, 3)),
    ("25 Dec 20188", DAY),
    ("1234567", DAY),
    ("on " * 30, DAY),
    (20181225, DAY),
]
SAME_MONEY = [
    ("RM9.75", 9.75),
    ("RM 9.75", "MYR 9.75"),
    ("9.75 RM", "9.75"),
    ("$1,234.50", 1234.5),
    ("1.234,50 €", "EUR 1,234.50"),
    ("1 234,50 €", "€1234.50"),
    ("1\u202f234,50\u00a0€", 1234.5),
    ("CHF 1'234.50", "Fr. 1234.50"),
    ("CHF 9.-", 9),
    ("9,- kr", "NOK 9"),
    ("US$5", "USD 5.00"),
    ("$5 USD", "US$ 5"),
    ("$5", "CAD 5"),
    ("¥1,200", "JPY 1200"),
    ("£.50", 0.5),
    ("-5.00", "(5.00)"),
    ("5.00-", "\u22125"),
    ("+5.00", 5),
    ("1.234", 1234),
    ("1.234", 1.234),
    ("1,234", "1234"),
    ("12.345.678", 12345678),
    ("₹1,23,456.00", 123456),
    ("Rs. 500", "INR 500"),
    ("R$ 10,00", "BRL 10.00"),
    ("\uff19\uff0e\uff17\uff15", 9.75),
    ("9.754", 9.75),
    ("zł 12,50", "PLN 12.5"),
    ("S/ 10.00", "PEN 10"),
    ("0.30", 0.1 + 0.2),
]
OTHER_MONEY = [
    ("RM9.75", "USD 9.75"),
    ("RM9.75", "$9.75"),
    ("€5", "£5"),
    ("US$5", "A$5"),
    ("9.75", 9.57),
    ("9.75", 975),
    ("1.234,50", "1.234"),
    ("1,234", "1.234"),
    ("-5", 5),
    ("12 50", 1250),
    ("1,23,45", 12345),
    ("9.75 9.75", 9.75),
    ("nine", 9),
    ("5 apples", 5),
    ("EUR $5", 5),
    ("--5", 5),
    ("5", True),
    (float("inf"), 5),
    ("1" * 61, 5),
]
SAME_COMPANIES = [
    ("EDEN IMPRESSION SDN BHD", "Eden Impression Sdn. Bhd."),
    ("EDEN IMPRESSION SDN BHD", "EDEN IMPRESSION SDN.BHD"),
    ("MR. D.I.Y. (M) SDN BHD", "MR D.I.Y (M) SDN. BHD."),
    ("Tannbeck Café", "TANNBECK  CAFÉ"),
    ("Marks & Spencer", "MARKS AND SPENCER"),
    ("UNIHAKKA INTERNATIONAL SDN BHD", "UNIHAKKA INTERNATlONAL SDN BHD"),
    ("O'Reilly Media, Inc.", "OREILLY MEDIA INC"),
    ("7-Eleven", "7 ELEVEN"),
    ("\uff21\uff22\uff23 Trading", "ABC TRADING"),
    ("Straße 7", "STRASSE 7"),
    ("...", "..."),
    (1234, "1234"),
]
OTHER_COMPANIES = [
    ("EDEN IMPRESSION SDN BHD", "EDEN EXPRESSION SDN BHD LTD"),
    ("SUSHI Q", "SUSHI P"),
    ("Tannbeck Cafe", "Oddmoor Grocers"),
    ("1.5 L", "15 L"),
    ("EUR", "EUP"),
    ("HW-5583", "HW-5584"),
    ("ACME", "ACME HOLDINGS INTERNATIONAL"),
    ("...", "?"),
]
TABLE = [
    (Kind.DATE, SAME_DATES, OTHER_DATES),
    (Kind.MONEY, SAME_MONEY, OTHER_MONEY),
    (Kind.TEXT, SAME_COMPANIES, OTHER_COMPANIES),
]


def judged(kind, truth, answer):
    comparer = Comparer(kind)
    return comparer.is_right(comparer.compare(truth, answer))


@pytest.mark.parametrize(
    ("kind", "truth", "answer"),
    [(kind, *pair) for kind, same, _ in TABLE for pair in same],
)
def test_what_means_the_same_is_right_whichever_side_it_stands_on(kind, truth, answer):
    assert judged(kind, truth, answer)
    assert judged(kind, answer, truth)


@pytest.mark.parametrize(
    ("kind", "truth", "answer"),
    [(kind, *pair) for kind, _, other in TABLE for pair in other],
)
def test_what_means_something_else_is_wrong_whichever_side_it_stands_on(kind, truth, answer):
    assert not judged(kind, truth, answer)
    assert not judged(kind, answer, truth)
