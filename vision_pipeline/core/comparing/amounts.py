"""Amounts as people write them: `RM9.75`, `1.234,50 €`, `(1,234.50)`, `CHF 1'234.-`."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

# A sign may stand for several currencies; where the other side names one of them, they agree.
_SIGNS = {
    "$": {"USD", "AUD", "CAD", "NZD", "SGD", "HKD", "TWD", "MXN", "ARS", "CLP", "COP"},
    "us$": {"USD"}, "a$": {"AUD"}, "au$": {"AUD"}, "c$": {"CAD"}, "ca$": {"CAD"},
    "nz$": {"NZD"}, "s$": {"SGD"}, "hk$": {"HKD"}, "nt$": {"TWD"}, "mx$": {"MXN"}, "r$": {"BRL"},
    "€": {"EUR"}, "eu": {"EUR"}, "£": {"GBP", "EGP", "LBP"}, "¥": {"JPY", "CNY"}, "円": {"JPY"},
    "元": {"CNY", "TWD"}, "rmb": {"CNY"}, "₩": {"KRW"}, "₹": {"INR"}, "₽": {"RUB"}, "₺": {"TRY"},
    "₫": {"VND"}, "₱": {"PHP"}, "฿": {"THB"}, "₪": {"ILS"}, "₴": {"UAH"}, "₦": {"NGN"},
    "rm": {"MYR"}, "rp": {"IDR"}, "rs": {"INR", "PKR", "LKR", "NPR", "MUR"}, "tl": {"TRY"},
    "kr": {"SEK", "NOK", "DKK", "ISK"}, "zł": {"PLN"}, "zl": {"PLN"}, "kč": {"CZK"}, "kc": {"CZK"},
    "ft": {"HUF"}, "lei": {"RON"}, "fr": {"CHF"}, "sfr": {"CHF"}, "r": {"ZAR"}, "s/": {"PEN"},
}  # fmt: skip
_CODE = re.compile(r"[a-z]{3}")
_NUMBER = re.compile(r"[.,]?\d(?:[\d.,' ]*\d)?")
_NO_CENTS = re.compile(r"(?<=\d)[.,]\s?[-\u2013\u2014]+")  # as in 9,-
_POINT = re.compile(r"(?:\d{1,3}([, '])\d{3}(?:\1\d{3})*|\d{1,2}(?:,\d{2})+,\d{3}|\d+)?(?:\.\d+)?")
_SWAP = str.maketrans(".,", ",.")
_ALIKE = str.maketrans("\u2212\u2013\u2019`\u066b\u066c", "--''.,")  # minus, marks of Arabic
_UNGROUPED = str.maketrans("", "", ", '")
_LONGEST_CHARS = 60
_MINUS = {"-", "()"}


@dataclass(frozen=True, slots=True)
class Amount:
    """A number and, where it is told, its currency.

    Attributes:
        values: By the mark before decimals, `point` or `comma`; empty for what is no amount.
        currencies: ISO 4217 codes that it may be in; empty where none is told.
    """

    values: Mapping[str, Decimal]
    currencies: frozenset[str] = frozenset()

    def may_be_in(self, other: Amount) -> bool:
        """Whether both can be in one currency; an amount without one can be in any."""
        if not (self.currencies and other.currencies):
            return True
        return not self.currencies.isdisjoint(other.currencies)


NO_AMOUNT = Amount({})


def read_amount(value: object) -> Amount:
    """A number, or what a text says as one."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        if not math.isfinite(value):
            return NO_AMOUNT
        exact = Decimal(str(value))
        return Amount({"point": exact, "comma": exact})
    if not isinstance(value, str) or len(value) > _LONGEST_CHARS:
        return NO_AMOUNT
    text = unicodedata.normalize("NFKC", value).translate(_ALIKE)
    text = _NO_CENTS.sub("", text).casefold().strip()
    found = _NUMBER.findall(text)
    if len(found) != 1:
        return NO_AMOUNT
    around = text.replace(found[0], " ", 1)
    currencies, minus = _around(around)
    if currencies is None:
        return NO_AMOUNT
    values = {"point": _pointed(found[0]), "comma": _pointed(found[0].translate(_SWAP))}
    return Amount(
        {name: -each if minus else each for name, each in values.items() if each is not None},
        currencies,
    )


def _pointed(text: str) -> Decimal | None:
    """The number that a text is where the decimal mark is a point."""
    return Decimal(text.translate(_UNGROUPED)) if _POINT.fullmatch(text) else None


def _around(text: str) -> tuple[frozenset[str] | None, bool]:
    """Currencies and minus sign around a number; None where something else is there too."""
    marks = "".join(mark for mark in text if mark in "-()")
    words = "".join(" " if mark in "-+()" else mark for mark in text).split()
    currencies: frozenset[str] = frozenset()
    for word in filter(None, (word.strip(".,:;") for word in words)):
        named = _currencies(word)
        currencies = currencies & named if currencies else named
        if not currencies:
            return None, False
    return (currencies, marks in _MINUS) if marks in _MINUS | {""} else (None, False)


def _currencies(word: str) -> frozenset[str]:
    if word in _SIGNS:
        return frozenset(_SIGNS[word])
    return frozenset({word.upper()} if _CODE.fullmatch(word) else ())
