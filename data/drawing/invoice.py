"""An invoice over four positions with 20 % VAT."""

from __future__ import annotations

from typing import Any

from drawing.page import ACCENT, MUTED, TINT, WHITE, Page, Pen, cells_at
from drawing.purchases import Purchase, money, total_cents
from drawing.sample import Sample

LEFT, RIGHT = 90, 1110
SMALL = Pen(24, MUTED)

SELLER, SELLER_ADDRESS = "Brackenhall Joinery Ltd", "7 Tanyard Close, Brackenhall BH4 2QX"
TAX_ID = "GB 555 0192 08"
BUYER, BUYER_ADDRESS = "Lindqvale Library Trust", ("The Old Maltings", "Lindqvale LQ1 9TD")
NUMBER, PURCHASE_ORDER = "BJ-2026-0318", "PO 44019"
TERMS = "30 days net, by bank transfer."

ORDERED = (
    Purchase("Site survey and drawings", 1, 48000, "job"),
    Purchase("Oak shelf, 120 cm, oiled", 14, 8650, "piece"),
    Purchase("Wall bracket, black steel", 42, 725, "piece"),
    Purchase("Fitting on site", 11, 5400, "hour"),
)
SUBTOTAL = total_cents(ORDERED)
TAX = SUBTOTAL // 5
TOTAL = SUBTOTAL + TAX


def invoice() -> Sample:
    """Letterhead, addressee beside the invoice's own data, positions, sums, terms of payment."""
    page = Page.blank(1200, 1600)
    page.draw.rectangle((0, 0, 1200, 14), fill=ACCENT)
    _head(page)
    bottom = _sums(page, _positions(page, 510))
    _payment(page, bottom + 150)
    page.rule(1514, LEFT, RIGHT)
    footer = ("Thank you for your order.", "joinery.example.com", "Page 1 of 1")
    page.line(1556, *cells_at((LEFT, 600, RIGHT), footer, "lmr"), pen=SMALL)
    return Sample("invoice-joinery.png", "invoice", page, _fields())


def _head(page: Page) -> None:
    page.line(120, (LEFT, SELLER), (RIGHT, "INVOICE", "r"), pen=Pen(44, bold=True))
    page.line(168, (LEFT, SELLER_ADDRESS), pen=Pen(26, MUTED))
    page.line(206, (LEFT, f"VAT no. {TAX_ID}"), pen=Pen(26, MUTED))
    page.rule(246, LEFT, RIGHT)
    page.line(290, (LEFT, "Bill to"), pen=SMALL)
    addressee = (BUYER, *BUYER_ADDRESS, "")
    details = (
        ("Invoice number", NUMBER),
        ("Invoice date", "12 October 2026"),
        ("Due date", "11 November 2026"),
        ("Your order", PURCHASE_ORDER),
    )
    for y, text, (label, value) in zip(range(336, 480, 44), addressee, details, strict=True):
        buyer = [(LEFT, text)] if text else []
        page.line(y, *buyer, (640, label), (RIGHT, value, "r"))


def _positions(page: Page, top: int) -> int:
    """Draw the table of what was ordered; gives the height at which the next row would be."""
    columns = (LEFT + 20, 600, 660, 910, RIGHT - 20)
    heads = ("Description", "Qty", "Unit", "Price", "Amount")
    page.draw.rectangle((LEFT, top, RIGHT, top + 60), fill=TINT)
    page.line(top + 40, *cells_at(columns, heads, "lrlrr"), pen=Pen(26, bold=True))
    y = top + 110
    for item in ORDERED:
        price, amount = money(item.unit_cents), money(item.cents)
        values = (item.name, str(item.quantity), item.unit or "", price, amount)
        page.line(y, *cells_at(columns, values, "lrlrr"))
        page.rule(y + 26, LEFT, RIGHT)
        y += 70
    return y


def _sums(page: Page, y: int) -> int:
    """Draw subtotal, tax and total; gives the height of the total."""
    y += 30
    for label, value in (("Subtotal", SUBTOTAL), ("VAT 20%", TAX)):
        page.line(y, (760, label), (RIGHT - 20, money(value), "r"))
        y += 54
    page.draw.rectangle((740, y - 12, RIGHT, y + 62), fill=ACCENT)
    white = Pen(34, WHITE, bold=True)
    page.line(y + 37, (760, "Total GBP"), (RIGHT - 20, money(TOTAL), "r"), pen=white)
    return y


def _payment(page: Page, y: int) -> None:
    page.line(y, (LEFT, "Payment terms"), pen=SMALL)
    page.line(y + 44, (LEFT, TERMS))
    page.line(y + 88, (LEFT, f"Please quote {NUMBER} with your payment."))
    page.line(y + 150, (LEFT, "Bank details"), pen=SMALL)
    page.line(y + 194, (LEFT, "Account name"), (340, SELLER))
    page.line(y + 238, (LEFT, "Sort code"), (340, "00-00-55"))
    page.line(y + 282, (LEFT, "Account number"), (340, "01920083"))


def _fields() -> dict[str, Any]:
    return {
        "document_type": "invoice",
        "invoice_number": NUMBER,
        "purchase_order": PURCHASE_ORDER,
        "invoice_date": "2026-10-12",
        "due_date": "2026-11-11",
        "seller_name": SELLER,
        "seller_address": SELLER_ADDRESS,
        "seller_tax_id": TAX_ID,
        "buyer_name": BUYER,
        "buyer_address": ", ".join(BUYER_ADDRESS),
        "currency": "GBP",
        "items": [item.fields() for item in ORDERED],
        "subtotal": SUBTOTAL / 100,
        "tax_rate_percent": 20,
        "tax": TAX / 100,
        "total": TOTAL / 100,
        "payment_terms": TERMS,
        "iban": None,
    }
