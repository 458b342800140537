"""Dates as people write them: `25/12/2018`, `25-12-18`, `Dec 25, 2018`, `20181225`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

_ORDERS = {"day first": "dmy", "month first": "mdy", "year first": "ymd"}
# English, German, French, Spanish, Italian, Portuguese and Dutch; without accents.
_MONTHS = tuple(
    tuple(names.split())
    for names in (
        "january januar janner janvier enero gennaio janeiro januari",
        "february februar fevrier febrero febbraio fevereiro februari",
        "march marz maerz mars marzo marco maart mrz mrt",
        "april avril abril aprile",
        "may mai mayo maggio maio mei",
        "june juni juin junio giugno junho",
        "july juli juillet julio luglio julho",
        "august aout agosto augustus",
        "september septembre septiembre settembre setembro",
        "october oktober octobre octubre ottobre outubro",
        "november novembre noviembre novembro",
        "december dezember decembre diciembre dicembre dezembro",
    )
)
_LEAST_LETTERS = 3
_BESIDE = """
    st nd rd th t of de del den der am le el di the on uhr h date 年 月 日
    mon monday tue tues tuesday wed wednesday thu thur thurs thursday fri friday
    sat saturday sun sunday montag dienstag mittwoch donnerstag freitag samstag sonntag
    lundi mardi mercredi jeudi vendredi samedi dimanche
"""
_PASSED_OVER = frozenset(_BESIDE.split())
_TIME = re.compile(
    r"\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?\s*(?:[ap]\.?m\b\.?)?\s*(?:z\b|utc|gmt|[+-]\d{2}:?\d{2}\b)?"
)
_TOKEN = re.compile(r"\d+|[年月日]|[^\W\d_]+")
_LONGEST_CHARS = 60
_YEAR_DIGITS, _PART_DIGITS = 4, 2
_CENTURY_TURNS = 70  # as in POSIX, nearly: '69 is 2069 and '70 is 1970
_RUNS = {8: {"ymd": (4, 2, 2), "dmy": (2, 2, 4), "mdy": (2, 2, 4)}}
_RUNS[6] = dict.fromkeys(("ymd", "dmy", "mdy"), (2, 2, 2))
_NUMBERS = 3


def read_dates(value: object) -> Mapping[str, date]:
    """The dates that a value may be, by the order that its parts may stand in.

    A time of day is passed over. A two-digit year is of 1970 to 2069.

    Returns:
        Empty for what is no date. A real date has one, whatever the order.
    """
    if isinstance(value, datetime):
        return dict.fromkeys(_ORDERS, value.date())
    if isinstance(value, date):
        return dict.fromkeys(_ORDERS, value)
    if not isinstance(value, str) or len(value) > _LONGEST_CHARS:
        return {}
    text = unicodedata.normalize("NFKD", value).casefold()
    text = "".join(mark for mark in text if not unicodedata.combining(mark))
    tokens = _TOKEN.findall(_TIME.sub(" ", text))
    parts = [token for token in tokens if token not in _PASSED_OVER]
    numbers = [part for part in parts if part.isdecimal()]
    words = [part for part in parts if not part.isdecimal()]
    if words:
        return _named(words, numbers)
    return _numbered(numbers)


def read_moment(value: object) -> datetime | None:
    """A moment in UTC out of ISO 8601 or a real one; None for anything without a time of day."""
    if isinstance(value, str) and ":" in value:
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _named(words: Sequence[str], numbers: Sequence[str]) -> Mapping[str, date]:
    if len(words) != 1 or len(numbers) != _NUMBERS - 1:
        return {}
    months = [number for number, names in enumerate(_MONTHS, 1) if _is_one(words[0], names)]
    if len(months) != 1:
        return {}
    first, second = numbers
    day_first = _date(second, str(months[0]), first)
    year_first = _date(first, str(months[0]), second)
    found = {"day first": day_first, "month first": day_first, "year first": year_first}
    return {order: each for order, each in found.items() if each is not None}


def _is_one(word: str, names: Sequence[str]) -> bool:
    return len(word) >= _LEAST_LETTERS and any(name.startswith(word) for name in names)


def _numbered(numbers: Sequence[str]) -> Mapping[str, date]:
    found = {}
    for order, parts in _ORDERS.items():
        split = _split(numbers[0], parts) if len(numbers) == 1 else numbers
        if len(split) == _NUMBERS:
            by_part = dict(zip(parts, split, strict=True))
            each = _date(by_part["y"], by_part["m"], by_part["d"])
            if each is not None:
                found[order] = each
    return found


def _split(run: str, parts: str) -> Sequence[str]:
    lengths = _RUNS.get(len(run), {}).get(parts, ())
    ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
    return [run[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _date(year: str, month: str, day: str) -> date | None:
    if max(len(month), len(day)) > _PART_DIGITS or len(year) not in {_PART_DIGITS, _YEAR_DIGITS}:
        return None
    whole = int(year)
    if len(year) == _PART_DIGITS:
        whole += 2000 if whole < _CENTURY_TURNS else 1900
    try:
        return date(whole, int(month), int(day))
    except ValueError:
        return None
