"""What receipts and invoices count: goods, and money in cents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Purchase:
    """A line of a receipt or an invoice; an invoice also says in what unit it counts."""

    name: str
    quantity: int
    unit_cents: int
    unit: str | None = None

    @property
    def cents(self) -> int:
        """The line total."""
        return self.quantity * self.unit_cents

    def fields(self) -> dict[str, Any]:
        """An entry of `items` in the receipt_fields and invoice templates' answers."""
        counted_in = {} if self.unit is None else {"unit": self.unit}
        return {
            "name": self.name,
            "quantity": self.quantity,
            **counted_in,
            "unit_price": self.unit_cents / 100,
            "line_total": self.cents / 100,
        }


def money(cents: int) -> str:
    """1234 as `12.34`, 123456 as `1,234.56`."""
    return f"{cents / 100:,.2f}"


def total_cents(purchases: Iterable[Purchase]) -> int:
    """The sum of the line totals."""
    return sum(purchase.cents for purchase in purchases)
