"""Draw the sample images and write down exactly what they show.

    python data/make_samples.py [FOLDER]      # default: data/samples beside this file

Twelve images, `truth.jsonl` (one line an image: every printed line in reading order, and the values
of its fields where it has any) and `pairs.csv` (a manifest for `configs/compare.yaml`). All
companies, people and figures are invented. Drawn with Pillow's own font and fixed seeds, so that
the same Pillow version gives the same bytes; no clock, no network.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

DRAWN_WITH = "13.0.0"  # the Pillow version behind the tracked files; others may hint text otherwise
ORIENTATION_TAG = 0x0112
SIDEWAYS = 6  # EXIF: turn by 90 degrees clockwise to see it upright

INK, MUTED, RULE, ACCENT, TINT = "#1f2430", "#5b6472", "#c9ced6", "#1d5fa8", "#eaf1f9"

Cell = tuple[float, str] | tuple[float, str, str]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's bundled font; basic layout, since not every build has the other engine."""
    bundled = ImageFont.load_default(size=size)
    if not isinstance(bundled, ImageFont.FreeTypeFont):
        message = "this Pillow was built without FreeType and cannot draw the samples"
        raise SystemExit(message)
    return bundled.font_variant(layout_engine=ImageFont.Layout.BASIC)


@dataclass(frozen=True)
class Pen:
    """How a line of text looks."""

    size: int = 28
    color: str = INK
    bold: bool = False

    def width(self, text: str) -> float:
        """The width of a text in px."""
        return font(self.size).getlength(text)


@dataclass
class Page:
    """An image under the pen, and the text lines drawn on it so far, in reading order."""

    image: Image.Image
    lines: list[str] = field(default_factory=list)

    @classmethod
    def blank(cls, width: int, height: int, color: str = "#ffffff") -> Page:
        """An empty page."""
        return cls(Image.new("RGB", (width, height), color))

    @property
    def draw(self) -> ImageDraw.ImageDraw:
        """The drawing surface."""
        return ImageDraw.Draw(self.image)

    def line(self, y: float, *cells: Cell, pen: Pen | None = None) -> None:
        """Draw one printed line: cells are `(x, text)` or `(x, text, "l" | "m" | "r")`."""
        self.put(y, *cells, pen=pen)
        self.lines.append(" ".join(cell[1] for cell in cells))

    def put(self, y: float, *cells: Cell, pen: Pen | None = None) -> None:
        """Draw cells on the baseline `y` without noting them as a line."""
        pen = pen or Pen()
        for cell in cells:
            if not cell[1].isascii():
                message = f"the bundled font lacks letters of {cell[1]!r}"
                raise ValueError(message)
            self.draw.text(
                (cell[0], y),
                cell[1],
                fill=pen.color,
                font=font(pen.size),
                anchor=(cell[2] if len(cell) > 2 else "l") + "s",  # noqa: PLR2004
                stroke_width=0.6 if pen.bold else 0,
            )

    def rule(self, y: float, left: float, right: float, color: str = RULE) -> None:
        """Draw a thin horizontal line."""
        self.draw.line((left, y, right, y), fill=color, width=2)


@dataclass(frozen=True)
class Sample:
    """One image file and the truth about it."""

    name: str
    kind: str
    page: Page
    fields: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def truth(self) -> dict[str, Any]:
        """The row of `truth.jsonl`."""
        row: dict[str, Any] = {"image": self.name, "kind": self.kind, "text_lines": self.page.lines}
        return row if self.fields is None else row | {"fields": self.fields}

    def save(self, folder: Path) -> None:
        """Write the image file."""
        target = folder / self.name
        if target.suffix == ".png":
            self.page.image.save(target, optimize=True)
        else:
            self.page.image.save(target, **({"quality": 82} | self.options))


# --- Receipts and the invoice -----------------------------------------------------------------


@dataclass(frozen=True)
class Purchase:
    """A line of a receipt or an invoice; prices in cents."""

    name: str
    quantity: int
    unit_cents: int

    @property
    def cents(self) -> int:
        """The line total."""
        return self.quantity * self.unit_cents


def money(cents: int) -> str:
    """1234 as `12.34`, 123456 as `1,234.56`."""
    return f"{cents / 100:,.2f}"


def total_cents(purchases: Iterable[Purchase]) -> int:
    """The sum of the line totals."""
    return sum(purchase.cents for purchase in purchases)


def receipt_items(purchases: Iterable[Purchase]) -> list[dict[str, Any]]:
    """The `items` of the receipt_fields template."""
    return [
        {
            "name": purchase.name,
            "quantity": purchase.quantity,
            "unit_price": purchase.unit_cents / 100,
            "line_total": purchase.cents / 100,
        }
        for purchase in purchases
    ]


def cafe_receipt() -> Sample:
    """A narrow till receipt; day-first date, tax included in the prices."""
    bought = (
        Purchase("Flat white", 2, 420),
        Purchase("Pot of mint tea", 1, 380),
        Purchase("Plum tart", 2, 565),
        Purchase("Seeded roll with egg", 1, 690),
    )
    total = total_cents(bought)
    tax = round(total * 135 / 1135)
    page = Page.blank(760, 1180, "#fbfaf6")
    left, right, middle = 70, 690, 380
    page.line(110, (middle, "TANNBECK CAFE", "m"), pen=Pen(52, bold=True))
    page.line(160, (middle, "14 Quay Lane, Port Ellery", "m"), pen=Pen(28, MUTED))
    page.line(202, (middle, "Table 7   Served by Ines", "m"), pen=Pen(28, MUTED))
    page.rule(236, left, right, MUTED)
    page.line(284, (left, "Date 06/11/2026"), (right, "10:42", "r"), pen=Pen(30))
    page.line(328, (left, "Receipt no. 20417"), pen=Pen(30))
    page.rule(356, left, right, MUTED)
    y = 414
    for item in bought:
        page.line(
            y,
            (left, str(item.quantity)),
            (left + 50, item.name),
            (right, money(item.cents), "r"),
            pen=Pen(32),
        )
        y += 56
    page.rule(y - 22, left, right, MUTED)
    y += 46
    page.line(y, (left, "TOTAL EUR"), (right, money(total), "r"), pen=Pen(46, bold=True))
    page.line(y + 60, (left, "of which VAT 13.5%"), (right, money(tax), "r"), pen=Pen(30))
    page.line(y + 110, (left, "Paid by card"), (right, money(total), "r"), pen=Pen(30))
    page.line(y + 154, (left, "Card ending 0042"), pen=Pen(30))
    page.rule(y + 190, left, right, MUTED)
    page.line(y + 256, (middle, "Thank you, see you soon!", "m"), pen=Pen(34))
    page.line(y + 304, (middle, "cafe.example.com", "m"), pen=Pen(28, MUTED))
    page.image = page.image.crop((0, 0, 760, y + 370))
    fields = {
        "vendor": "TANNBECK CAFE",
        "vendor_address": "14 Quay Lane, Port Ellery",
        "receipt_date": "2026-11-06",
        "receipt_time": "10:42",
        "currency": "EUR",
        "items": [
            # Only line totals are printed: a unit price is known where one piece was bought.
            row | {"unit_price": row["unit_price"] if row["quantity"] == 1 else None}
            for row in receipt_items(bought)
        ],
        "subtotal": None,
        "tax": tax / 100,
        "total": total / 100,
        "payment_method": "card",
    }
    return Sample("receipt-cafe.jpg", "receipt", page, fields)


def grocery_receipt() -> Sample:
    """A long receipt as a scanner sees it: slightly turned, grey and noisy; paid in cash."""
    bought = (
        Purchase("OAT MILK 1L", 3, 165),
        Purchase("RYE BREAD", 1, 240),
        Purchase("CHEDDAR 400G", 1, 385),
        Purchase("APPLES 6 PACK", 2, 199),
        Purchase("GREEN LENTILS", 4, 95),
        Purchase("DISH SOAP", 1, 150),
    )
    total, given = total_cents(bought), 2500
    page = Page.blank(840, 1500, "#f4f3ef")
    left, right, middle = 80, 760, 420
    page.line(110, (middle, "ODDMOOR GROCERS", "m"), pen=Pen(54, bold=True))
    page.line(164, (middle, "3 Saddler Row, Oddmoor", "m"), pen=Pen(30))
    page.line(208, (middle, "Tel 555 0134", "m"), pen=Pen(30))
    page.line(284, (left, "28-09-2026  18:05"), (right, "Till 3", "r"), pen=Pen(32))
    page.rule(312, left, right, MUTED)
    y = 370
    for item in bought:
        page.line(y, (left, item.name), (right, money(item.cents), "r"), pen=Pen(34))
        y += 46
        if item.quantity > 1:
            detail = f"{item.quantity} x {money(item.unit_cents)}"
            page.line(y, (left + 50, detail), pen=Pen(30, MUTED))
            y += 48
        y += 8
    page.rule(y - 24, left, right, MUTED)
    y += 36
    page.line(y, (left, "SUBTOTAL"), (right, money(total), "r"), pen=Pen(34))
    page.line(y + 50, (left, "VAT 0%"), (right, "0.00", "r"), pen=Pen(34))
    page.line(y + 122, (left, "TOTAL GBP"), (right, money(total), "r"), pen=Pen(50, bold=True))
    page.line(y + 186, (left, "CASH"), (right, money(given), "r"), pen=Pen(34))
    page.line(y + 236, (left, "CHANGE"), (right, money(given - total), "r"), pen=Pen(34))
    page.rule(y + 266, left, right, MUTED)
    pieces = sum(item.quantity for item in bought)
    page.line(y + 320, (middle, f"{pieces} ITEMS SOLD", "m"), pen=Pen(32))
    page.line(y + 368, (middle, "PLEASE KEEP YOUR RECEIPT", "m"), pen=Pen(32))
    fields = {
        "vendor": "ODDMOOR GROCERS",
        "vendor_address": "3 Saddler Row, Oddmoor",
        "receipt_date": "2026-09-28",
        "receipt_time": "18:05",
        "currency": "GBP",
        "items": receipt_items(bought),
        "subtotal": total / 100,
        "tax": 0.0,
        "total": total / 100,
        "payment_method": "cash",
    }
    page.image = as_scanned(page.image.crop((0, 0, 840, y + 440)), seed=7)
    return Sample("receipt-grocery-scan.jpg", "receipt", page, fields, {"quality": 72})


def hardware_receipt() -> Sample:
    """A wide receipt with columns; month written out, sales tax added at the end."""
    bought = (
        Purchase("Wood screws 4x40, box", 2, 649),
        Purchase("Paint brush 50 mm", 1, 875),
        Purchase("Masonry bit 8 mm", 3, 420),
        Purchase("Work gloves, size L", 1, 1299),
    )
    subtotal = total_cents(bought)
    tax = round(subtotal * 0.0725)
    page = Page.blank(1000, 1080)
    left, quantity, unit, right = 60, 590, 760, 940
    page.draw.rectangle((0, 0, 1000, 150), fill="#24382f")
    page.line(74, (left, "Velstrand Hardware"), pen=Pen(50, "#ffffff", bold=True))
    page.line(122, (left, "880 Mill Road, Velstrand"), pen=Pen(28, "#d5e3da"))
    number, day, hour = "Sales receipt HW-5583", "October 3, 2026", "4:17 PM"
    page.line(210, (left, number), (unit, day, "r"), (right, hour, "r"), pen=Pen(30))
    page.draw.rectangle((left, 246, right, 304), fill="#e9efeb")
    head = ((left + 16, "Item"), (quantity, "Qty", "r"), (unit, "Unit", "r"))
    page.line(286, *head, (right - 16, "Amount", "r"), pen=Pen(28, bold=True))
    y = 354
    for item in bought:
        page.line(
            y,
            (left + 16, item.name),
            (quantity, str(item.quantity), "r"),
            (unit, money(item.unit_cents), "r"),
            (right - 16, money(item.cents), "r"),
            pen=Pen(30),
        )
        page.rule(y + 22, left, right)
        y += 64
    y += 20
    for label, value in (("Subtotal", subtotal), ("Sales tax 7.25%", tax)):
        page.line(y, (unit, label, "r"), (right - 16, money(value), "r"), pen=Pen(30))
        y += 52
    y += 16
    total = subtotal + tax
    page.line(y, (unit, "Total USD", "r"), (right - 16, money(total), "r"), pen=Pen(40, bold=True))
    page.rule(y + 40, left, right)
    page.line(y + 96, (left, "Paid with debit card"), (right, "Approval 771204", "r"), pen=Pen(30))
    note = "Returns within 30 days with this receipt."
    page.line(y + 150, (left, note), pen=Pen(28, MUTED))
    page.image = page.image.crop((0, 0, 1000, y + 210))
    fields = {
        "vendor": "Velstrand Hardware",
        "vendor_address": "880 Mill Road, Velstrand",
        "receipt_date": "2026-10-03",
        "receipt_time": "16:17",
        "currency": "USD",
        "items": receipt_items(bought),
        "subtotal": subtotal / 100,
        "tax": tax / 100,
        "total": total / 100,
        "payment_method": "card",
    }
    return Sample("receipt-hardware.jpg", "receipt", page, fields)


def invoice() -> Sample:
    """An invoice over four positions with 20 % VAT."""
    ordered = (
        (Purchase("Site survey and drawings", 1, 48000), "job"),
        (Purchase("Oak shelf, 120 cm, oiled", 14, 8650), "piece"),
        (Purchase("Wall bracket, black steel", 42, 725), "piece"),
        (Purchase("Fitting on site", 11, 5400), "hour"),
    )
    subtotal = total_cents(item for item, _ in ordered)
    tax = subtotal // 5
    page = Page.blank(1200, 1600)
    left, right = 90, 1110
    page.draw.rectangle((0, 0, 1200, 14), fill=ACCENT)
    page.line(120, (left, "Brackenhall Joinery Ltd"), (right, "INVOICE", "r"), pen=INVOICE_HEAD)
    seller = "7 Tanyard Close, Brackenhall BH4 2QX"
    page.line(168, (left, seller), pen=Pen(26, MUTED))
    page.line(206, (left, "VAT no. GB 555 0192 08"), pen=Pen(26, MUTED))
    page.rule(246, left, right)
    small = Pen(24, MUTED)
    page.line(290, (left, "Bill to"), pen=small)
    addressee = ("Lindqvale Library Trust", "The Old Maltings", "Lindqvale LQ1 9TD", "")
    details = (
        ("Invoice number", "BJ-2026-0318"),
        ("Invoice date", "12 October 2026"),
        ("Due date", "11 November 2026"),
        ("Your order", "PO 44019"),
    )
    for y, text, (label, value) in zip(range(336, 480, 44), addressee, details, strict=True):
        buyer = [(left, text)] if text else []
        page.line(y, *buyer, (640, label), (right, value, "r"))
    page.draw.rectangle((left, 510, right, 570), fill=TINT)
    columns = (left + 20, 600, 660, 910, right - 20)
    heads = ("Description", "Qty", "Unit", "Price", "Amount")
    page.line(550, *cells_at(columns, heads, "lrlrr"), pen=Pen(26, bold=True))
    y = 620
    for item, unit in ordered:
        values = (item.name, str(item.quantity), unit, money(item.unit_cents), money(item.cents))
        page.line(y, *cells_at(columns, values, "lrlrr"))
        page.rule(y + 26, left, right)
        y += 70
    y += 30
    sums = (("Subtotal", subtotal), ("VAT 20%", tax))
    for label, value in sums:
        page.line(y, (760, label), (right - 20, money(value), "r"))
        y += 54
    page.draw.rectangle((740, y - 12, right, y + 62), fill=ACCENT)
    total = subtotal + tax
    white = Pen(34, "#ffffff", bold=True)
    page.line(y + 37, (760, "Total GBP"), (right - 20, money(total), "r"), pen=white)
    y += 150
    page.line(y, (left, "Payment terms"), pen=small)
    page.line(y + 44, (left, "30 days net, by bank transfer."))
    page.line(y + 88, (left, "Please quote BJ-2026-0318 with your payment."))
    page.line(y + 150, (left, "Bank details"), pen=small)
    page.line(y + 194, (left, "Account name"), (340, "Brackenhall Joinery Ltd"))
    page.line(y + 238, (left, "Sort code"), (340, "00-00-55"))
    page.line(y + 282, (left, "Account number"), (340, "01920083"))
    page.rule(1514, left, right)
    footer = ("Thank you for your order.", "joinery.example.com", "Page 1 of 1")
    page.line(1556, *cells_at((left, 600, right), footer, "lmr"), pen=small)
    fields = {
        "document_type": "invoice",
        "invoice_number": "BJ-2026-0318",
        "purchase_order": "PO 44019",
        "invoice_date": "2026-10-12",
        "due_date": "2026-11-11",
        "seller_name": "Brackenhall Joinery Ltd",
        "seller_address": seller,
        "seller_tax_id": "GB 555 0192 08",
        "buyer_name": "Lindqvale Library Trust",
        "buyer_address": "The Old Maltings, Lindqvale LQ1 9TD",
        "currency": "GBP",
        "items": [
            {
                "name": item.name,
                "quantity": item.quantity,
                "unit": unit,
                "unit_price": item.unit_cents / 100,
                "line_total": item.cents / 100,
            }
            for item, unit in ordered
        ],
        "subtotal": subtotal / 100,
        "tax_rate_percent": 20,
        "tax": tax / 100,
        "total": total / 100,
        "payment_terms": "30 days net, by bank transfer.",
        "iban": None,
    }
    return Sample("invoice-joinery.png", "invoice", page, fields)


INVOICE_HEAD = Pen(44, bold=True)


def cells_at(columns: Sequence[float], texts: Sequence[str], anchors: str) -> list[Cell]:
    """One cell a column; `anchors` has a letter for each."""
    return list(zip(columns, texts, anchors, strict=True))


# --- Form, table, label, prose ----------------------------------------------------------------


def form() -> Sample:
    """A filled form: printed labels, blue entries, ticked boxes."""
    page = Page.blank(1100, 1420)
    left, right = 80, 1020
    page.line(110, (left, "Membership application"), pen=Pen(50, bold=True))
    page.line(158, (left, "Ellery Sailing Club - please fill in block letters"), pen=Pen(28, MUTED))
    page.rule(190, left, right, INK)
    middle = 570
    entry_row(
        page,
        260,
        (left, middle - 30, "First name", "MILO"),
        (middle, right, "Last name", "FERNCASTLE"),
    )
    entry_row(
        page,
        400,
        (left, middle - 30, "Date of birth", "23.04.1991"),
        (middle, right, "Phone", "555 0178"),
    )
    entry_row(page, 540, (left, right, "Street and number", "19 LANTERN STEPS"))
    entry_row(page, 680, (left, 340, "Postcode", "PE3 7LK"), (370, right, "Town", "PORT ELLERY"))
    entry_row(page, 820, (left, right, "E-mail", "milo@example.com"))
    page.line(980, (left, "Kind of membership (tick one)"), pen=Pen(28, bold=True))
    page.line(
        1036, *tick_boxes(page, 1036, (("Single", True), ("Family", False), ("Youth", False)))
    )
    page.line(1110, (left, "I can bring"), pen=Pen(28, bold=True))
    page.line(
        1166,
        *tick_boxes(page, 1166, (("My own boat", False), ("A life vest", True), ("Tools", True))),
    )
    page.rule(1300, left, 420, INK)
    page.rule(1300, middle, right, INK)
    ink = Pen(36, "#1b3fa0")
    page.line(1288, (left + 10, "17.10.2026"), (middle + 10, "M. Ferncastle"), pen=ink)
    page.line(1336, (left, "Date"), (middle, "Signature"), pen=Pen(26, MUTED))
    fields = {
        "first_name": "MILO",
        "last_name": "FERNCASTLE",
        "date_of_birth": "1991-04-23",
        "phone": "555 0178",
        "street": "19 LANTERN STEPS",
        "postcode": "PE3 7LK",
        "town": "PORT ELLERY",
        "email": "milo@example.com",
        "membership": "Single",
        "brings": ["A life vest", "Tools"],
        "signed_on": "2026-10-17",
    }
    return Sample("form-membership.png", "form", page, fields)


def entry_row(page: Page, y: int, *entries: tuple[int, int, str, str]) -> None:
    """Labels above boxes, blue values inside; entries are `(left, right, label, value)`."""
    page.line(y - 12, *((left, label) for left, _, label, _ in entries), pen=Pen(26, MUTED))
    for left, right, _, _ in entries:
        page.draw.rounded_rectangle((left, y, right, y + 68), 6, outline="#8b94a3", width=2)
    blue = Pen(36, "#1b3fa0")
    page.line(y + 47, *((left + 20, value) for left, _, _, value in entries), pen=blue)


def tick_boxes(page: Page, y: int, choices: Iterable[tuple[str, bool]]) -> Iterator[Cell]:
    """Draw one box a choice, crossed where it is chosen; gives the cells of the labels."""
    left = 80
    for label, is_chosen in choices:
        page.draw.rectangle((left, y - 28, left + 32, y + 4), outline=INK, width=3)
        if is_chosen:
            for ends in (
                (left + 5, y - 23, left + 27, y - 1),
                (left + 5, y - 1, left + 27, y - 23),
            ):
                page.draw.line(ends, fill="#1b3fa0", width=6)
        yield left + 52, label
        left += 310


def timetable() -> Sample:
    """A ruled table with a header row and one empty cell pattern (`-`)."""
    heads = ("Ferry", "Port Ellery", "Gull Isle", "Sand Quay", "Oddmoor", "Days")
    rows = (
        ("F1", "06:10", "06:45", "07:20", "08:05", "Mon-Fri"),
        ("F3", "07:30", "08:05", "08:40", "09:25", "Daily"),
        ("F5", "09:00", "none", "10:00", "10:45", "Daily"),
        ("F7", "12:15", "12:50", "13:25", "14:10", "Sat, Sun"),
        ("F9", "15:40", "16:15", "16:50", "17:35", "Daily"),
        ("F11", "18:20", "none", "19:20", "20:05", "Mon-Fri"),
        ("F13", "21:00", "21:35", "22:10", "22:55", "Fri, Sat"),
    )
    page = Page.blank(1320, 900)
    left, right, height = 60, 1260, 72
    page.line(96, (left, "Ferry timetable, winter 2026/27"), pen=Pen(46, bold=True))
    page.line(140, (left, "Departures in local time. Valid from 1 November."), pen=Pen(28, MUTED))
    columns = (84, 230, 450, 650, 860, 1070)
    top = 176
    page.draw.rectangle((left, top, right, top + height), fill=ACCENT)
    white = Pen(30, "#ffffff", bold=True)
    page.line(top + 47, *cells_at(columns, heads, "llllll"), pen=white)
    for number, row in enumerate(rows, start=1):
        y = top + number * height
        if number % 2 == 0:
            page.draw.rectangle((left, y, right, y + height), fill=TINT)
        page.line(y + 47, *cells_at(columns, row, "llllll"), pen=Pen(32))
    page.draw.rectangle((left, top, right, top + 8 * height), outline="#8b94a3", width=2)
    for x in columns[1:]:
        page.draw.line((x - 24, top, x - 24, top + 8 * height), fill=RULE, width=2)
    page.line(822, (left, "none: the ferry does not stop at Gull Isle."), pen=Pen(28, MUTED))
    fields = {"columns": list(heads), "rows": [list(row) for row in rows]}
    return Sample("table-ferries.png", "table", page, fields)


def shipping_label() -> Sample:
    """A parcel label with a sorting code and bars."""
    page = Page.blank(820, 1180)
    page.draw.rectangle((30, 30, 790, 1150), outline=INK, width=5)
    page.line(104, (60, "NORDVEK PARCEL"), (760, "STANDARD", "r"), pen=Pen(46, bold=True))
    page.rule(136, 30, 790, INK)
    page.line(178, (60, "FROM"), pen=Pen(24, MUTED))
    page.line(216, (60, "Velstrand Hardware, Returns desk"))
    page.line(254, (60, "880 Mill Road, Velstrand VS 10233"))
    page.rule(284, 30, 790, INK)
    page.line(330, (60, "TO"), pen=Pen(26, MUTED))
    page.line(390, (60, "Ines Tarrow"), pen=Pen(46, bold=True))
    page.line(446, (60, "Flat 2, 61 Heron Street"), pen=Pen(40))
    page.line(500, (60, "Port Ellery PE3 7LM"), pen=Pen(40))
    page.rule(540, 30, 790, INK)
    page.line(588, (60, "SORT"), (450, "WEIGHT"), (620, "PIECE"), pen=Pen(24, MUTED))
    page.line(668, (60, "PE3-07"), pen=Pen(84, bold=True))
    page.line(650, (450, "2.4 kg"), (620, "1 of 1"), pen=Pen(40))
    page.draw.line((420, 540, 420, 710), fill=INK, width=3)
    page.rule(710, 30, 790, INK)
    bars(page, (90, 750, 730, 940), seed=41)
    page.line(990, (410, "NV 4410 0927 3355 PE", "m"), pen=Pen(38))
    page.draw.rectangle((30, 1030, 790, 1150), fill=INK)
    warning = Pen(48, "#ffffff", bold=True)
    page.line(1107, (410, "FRAGILE - THIS WAY UP", "m"), pen=warning)
    fields = {
        "recipient": "Ines Tarrow",
        "recipient_address": "Flat 2, 61 Heron Street, Port Ellery PE3 7LM",
        "sort_code": "PE3-07",
        "weight_kg": 2.4,
        "tracking_number": "NV 4410 0927 3355 PE",
    }
    return Sample("label-parcel.png", "shipping_label", page, fields)


def bars(page: Page, box: tuple[int, int, int, int], *, seed: int) -> None:
    """Upright bars that look like a barcode and encode nothing."""
    left, top, right, bottom = box
    dice = random.Random(seed)
    x = left
    while x < right - 16:
        width = dice.choice((4, 4, 8, 12))
        page.draw.rectangle((x, top, x + width - 1, bottom), fill=INK)
        x += width + dice.choice((4, 4, 8, 12))


PROSE = (
    "The tide table hung by the door of the harbour office, and nobody read it except Orla. "
    "Everyone else looked at the stones. When the third step of the old stair was dry, there was "
    "time for a cup of tea; when the fifth was dry, the boats were already sitting on the mud.",
    "Orla had kept the book for nineteen years. She wrote the height of the water at six in the "
    "morning and again at six at night, with a soft pencil, because ink ran when the window "
    "leaked. In the margin she noted what else had come in: a crate of lemons, a blue door, once "
    "a piano stool with three legs.",
    "In the spring of the great calm the figures began to repeat. At dawn the gauge said two "
    "metres ten, and at dusk it said the same, for eleven days. She checked the gauge, then the "
    "pencil, then herself. On the twelfth day she walked down to the fifth step with a folding "
    "rule and stood there until the bell rang noon.",
    "The water did not move. It lay against the stone like a cat against a stove, and the whole "
    "harbour seemed to hold its breath with it. Then a small boy threw a pebble, and the sea "
    "remembered what it was for.",
)


def prose_page() -> Sample:
    """A page of a book, in paragraphs."""
    page = Page.blank(1060, 1500, "#fdfbf5")
    left, right = 120, 940
    page.line(110, (530, "THE HARBOUR BOOK", "m"), pen=Pen(24, MUTED))
    page.line(220, (left, "Chapter 4"), pen=Pen(30, MUTED))
    page.line(282, (left, "What the stones knew"), pen=Pen(48, bold=True))
    pen, y = Pen(30), 366
    for paragraph in PROSE:
        for text in wrapped(paragraph, pen, right - left):
            page.line(y, (left, text), pen=pen)
            y += 46
        y += 26
    page.line(1446, (530, "57", "m"), pen=Pen(26, MUTED))
    return Sample("page-prose.png", "page_of_text", page)


def wrapped(text: str, pen: Pen, width: float) -> Iterator[str]:
    """The text in lines no wider than `width` px."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if pen.width(longer) > width:
            yield line
            line = word
        else:
            line = longer
    yield line


# --- Charts -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plot:
    """The area of a chart and its linear value axis."""

    left: int
    top: int
    right: int
    bottom: int
    ceiling: int

    def y(self, value: float) -> float:
        """The height in px of a value."""
        return self.bottom - value / self.ceiling * (self.bottom - self.top)

    def x(self, index: int, count: int) -> float:
        """The middle of one of `count` equal slots."""
        return self.left + (index + 0.5) * (self.right - self.left) / count

    def axes(self, page: Page, *, step: int) -> None:
        """Grid lines with their values, largest first, and the base line."""
        for value in range(self.ceiling, -1, -step):
            page.rule(self.y(value), self.left, self.right, "#e3e6eb")
            page.line(self.y(value) + 9, (self.left - 18, str(value), "r"), pen=Pen(26, MUTED))
        page.rule(self.bottom, self.left, self.right, INK)


def chart_fields(kind: str, title: str, **more: str | None) -> dict[str, Any]:
    """The head of the `chart` template's answer."""
    keys = ("x_label", "y_label", "unit")
    return {"chart_type": kind, "title": title, **{key: more.get(key) for key in keys}}


def chart_series(name: str, values: dict[str, float]) -> dict[str, Any]:
    """One entry of the `chart` template's `series`."""
    points = [{"x": x, "y": y, "is_estimated": False} for x, y in values.items()]
    return {"name": name, "points": points}


def bar_chart() -> Sample:
    """Bars with their values printed on top."""
    values = {"Jan": 412, "Feb": 465, "Mar": 738, "Apr": 1024, "May": 1390, "Jun": 1615}
    values |= {"Jul": 1572, "Aug": 1488, "Sep": 1207}
    title = "Bicycles counted at Ellery Bridge"
    page = Page.blank(1280, 860)
    plot = Plot(150, 200, 1230, 720, 2000)
    page.line(84, (70, title), pen=Pen(44, bold=True))
    page.line(150, (70, "Bicycles per day"), pen=Pen(28, MUTED))
    plot.axes(page, step=500)
    names = list(values)
    for number, value in enumerate(values.values()):
        x = plot.x(number, len(values))
        top = plot.y(value)
        page.draw.rectangle((x - 38, top, x + 38, plot.bottom - 2), fill="#3f7fbf")
    tops = [(plot.x(n, len(values)), v) for n, v in enumerate(values.values())]
    for x, value in tops:
        page.put(plot.y(value) - 14, (x, str(value), "m"), pen=Pen(30, bold=True))
    page.lines.append(" ".join(str(value) for value in values.values()))
    page.line(764, *((plot.x(n, len(values)), name, "m") for n, name in enumerate(names)))
    page.line(820, (690, "Month of 2026", "m"), pen=Pen(28, MUTED))
    fields = chart_fields(
        "bar", title, x_label="Month of 2026", y_label="Bicycles per day", unit="Bicycles per day"
    )
    fields["series"] = [chart_series("Bicycles per day", dict(values))]
    return Sample("chart-bar-bicycles.png", "chart", page, fields)


def line_chart() -> Sample:
    """Two lines with a legend and every value printed beside its point."""
    series = {
        "North roof": (
            "#c2571a",
            -22,
            {"2020": 18.2, "2021": 17.6, "2022": 16.9, "2023": 15.4, "2024": 14.8, "2025": 13.1},
        ),
        "South roof": (
            "#1d5fa8",
            -22,
            {"2020": 24.5, "2021": 26.1, "2022": 25.3, "2023": 27.8, "2024": 29.4, "2025": 31.2},
        ),
    }
    title = "Solar yield by roof, 2020 to 2025"
    page = Page.blank(1280, 860)
    plot = Plot(130, 220, 1230, 720, 40)
    page.line(84, (60, title), pen=Pen(44, bold=True))
    page.put(150, (60, "Yield in MWh"), pen=Pen(28, MUTED))
    x = 760
    for name, (color, _, _) in series.items():
        page.draw.line((x, 141, x + 50, 141), fill=color, width=6)
        page.put(150, (x + 64, name), pen=Pen(28))
        x += 250
    page.lines.append("Yield in MWh " + " ".join(series))
    plot.axes(page, step=10)
    for color, shift, values in series.values():
        dots = [(plot.x(n, len(values)), plot.y(v)) for n, v in enumerate(values.values())]
        page.draw.line(dots, fill=color, width=5, joint="curve")
        for (at, height), value in zip(dots, values.values(), strict=True):
            page.draw.ellipse((at - 9, height - 9, at + 9, height + 9), fill=color)
            page.put(height + shift, (at, f"{value}", "m"), pen=Pen(30, color, bold=True))
    for _, _, values in reversed(series.values()):
        page.lines.append(" ".join(f"{value}" for value in values.values()))
    years = list(next(iter(series.values()))[2])
    page.line(766, *((plot.x(n, len(years)), year, "m") for n, year in enumerate(years)))
    page.line(822, (680, "Year", "m"), pen=Pen(28, MUTED))
    fields = chart_fields("line", title, x_label="Year", y_label="Yield in MWh", unit="MWh")
    fields["series"] = [chart_series(name, values) for name, (_, _, values) in series.items()]
    return Sample("chart-line-solar.png", "chart", page, fields)


# --- Screen and photo -------------------------------------------------------------------------


def screenshot() -> Sample:
    """A web app's order list: side bar, search, table, buttons."""
    page = Page.blank(1440, 900, "#f5f6f8")
    draw = page.draw
    draw.rectangle((0, 0, 260, 900), fill="#1f2a3c")
    draw.rectangle((260, 0, 1440, 90), fill="#ffffff")
    draw.rounded_rectangle((14, 176, 246, 232), 8, fill="#34486a")
    draw.rounded_rectangle((300, 22, 860, 68), 8, outline=RULE, width=2)
    draw.ellipse((1352, 20, 1402, 70), fill="#3f7fbf")
    white, light = Pen(26, "#ffffff"), Pen(26, "#b9c4d6")
    page.put(57, (36, "Parceldesk"), pen=Pen(32, "#ffffff", bold=True))
    page.put(55, (324, "Search orders"), pen=Pen(26, MUTED))
    page.put(54, (1377, "IT", "m"), pen=white)
    page.lines.append("Parceldesk Search orders IT")
    page.line(150, (300, "Open orders"), pen=Pen(40, bold=True))
    page.line(213, (36, "Orders"), pen=white)
    for y, name in ((283, "Returns"), (353, "Customers"), (423, "Reports"), (493, "Settings")):
        page.line(y, (36, name), pen=light)
    draw.rounded_rectangle((1190, 112, 1400, 166), 8, fill=ACCENT)
    page.line(148, (1295, "New order", "m"), pen=white)
    draw.rounded_rectangle((300, 196, 1400, 690), 10, fill="#ffffff", outline=RULE, width=2)
    columns = (330, 500, 800, 1000, 1370)
    heads = ("Order", "Customer", "Placed", "Status", "Amount")
    page.line(244, *cells_at(columns, heads, "llllr"), pen=Pen(24, MUTED))
    orders = (
        ("10482", "Ines Tarrow", "19 Nov", "Packed", "$58.20"),
        ("10481", "Lindqvale Library", "19 Nov", "Waiting", "$312.00"),
        ("10479", "Milo Ferncastle", "18 Nov", "Sent", "$24.95"),
        ("10476", "Tannbeck Cafe", "17 Nov", "Waiting", "$146.70"),
        ("10470", "Oddmoor Grocers", "16 Nov", "Overdue", "$89.10"),
    )
    tones = {"Packed": "#dfeafa", "Waiting": "#fbf0d5", "Sent": "#ddf2e3", "Overdue": "#fbdedb"}
    for number, order in enumerate(orders):
        y = 320 + number * 82
        page.rule(y - 50, 300, 1400, "#e8ebef")
        tone = tones[order[3]]
        width = Pen(26).width(order[3])
        draw.rounded_rectangle((986, y - 30, 1014 + width, y + 14), 22, fill=tone)
        page.line(y, *cells_at(columns, order, "llllr"), pen=Pen(26))
    draw.rounded_rectangle((300, 730, 1400, 850), 10, fill="#fff7e0", outline="#e6cf8a", width=2)
    page.line(780, (330, "1 order is overdue"), pen=Pen(28, bold=True))
    page.line(822, (330, "Order 10470 should have left on Monday."), pen=Pen(26, MUTED))
    return Sample("screenshot-orders.png", "screenshot", page)


NOTICE = (
    (54, "WATER TURNED OFF"),
    (40, "Thursday 26 November"),
    (40, "from 8:30 to 14:00"),
    (32, ""),
    (32, "New meters are being fitted in"),
    (32, "all flats of Heron Street 55 to 63."),
    (32, "Please fill a kettle the evening"),
    (32, "before and keep taps closed."),
    (32, ""),
    (32, "Questions: caretaker, door 4,"),
    (32, "or call 555 0161."),
)


def photographed_notice() -> Sample:
    """A sheet on a wooden table, by a phone held upright: the pixels lie sideways."""
    sheet = Page.blank(860, 1060, "#f7f4ea")
    y = 130
    for size, text in NOTICE:
        if text:
            sheet.line(y, (430, text, "m"), pen=Pen(size, bold=size > 32))  # noqa: PLR2004
        y += size + 34
    sheet.rule(y - 20, 120, 740, MUTED)
    sheet.line(y + 50, (430, "Heron Street House Office", "m"), pen=Pen(30, MUTED))
    upright = on_a_table(sheet.image, seed=11)
    # Stored as the sensor saw it, a quarter turn to the left of how it was held.
    sheet.image = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = SIDEWAYS
    options = {"exif": exif, "quality": 80}
    return Sample("photo-notice-sideways.jpg", "photo_of_document", sheet, None, options)


def grain(size: tuple[int, int], *, seed: int, cells: tuple[int, int]) -> Image.Image:
    """Seeded grey noise of `cells`, scaled up to `size`: the same on every machine."""
    noise = random.Random(seed).randbytes(cells[0] * cells[1])
    return Image.frombytes("L", cells, noise).resize(size, Image.Resampling.BICUBIC)


def as_scanned(image: Image.Image, *, seed: int) -> Image.Image:
    """The page turned by a degree, a little soft, grey and noisy."""
    scan = image.convert("L").rotate(
        -1.2, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=205
    )
    scan = scan.filter(ImageFilter.GaussianBlur(0.7))
    noise = grain(scan.size, seed=seed, cells=scan.size).point(lambda value: 120 + value // 16)
    return ImageChops.add(scan, noise, scale=1, offset=-132)


def on_a_table(sheet: Image.Image, *, seed: int) -> Image.Image:
    """The sheet photographed at a slight angle, with a shadow and light from the upper left."""
    size = (1160, 1440)
    wood = ImageChops.blend(
        grain(size, seed=seed, cells=(6, 240)), grain(size, seed=seed + 1, cells=(3, 60)), 0.5
    )
    table = ImageOps.colorize(wood, "#5f4025", "#b58a5b")
    paper = Image.new("RGB", size)
    paper.paste(sheet, (150, 180))
    mask = Image.new("L", size)
    mask.paste(255, (150, 180, 150 + sheet.width, 180 + sheet.height))
    # Output point to source point: a turn by about 2 degrees and a top edge that lies further off.
    bend = (1.02, 0.035, -46, -0.035, 1.03, 2, 0.0, 0.00004)
    method, soft = Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
    paper, mask = (part.transform(size, method, bend, resample=soft) for part in (paper, mask))
    shadow = ImageChops.offset(mask, 14, 18).filter(ImageFilter.GaussianBlur(16))
    table = Image.composite(
        Image.new("RGB", size, "#2a1b10"), table, shadow.point(lambda v: v // 2)
    )
    photo = Image.composite(paper, table, mask)
    light = Image.linear_gradient("L").rotate(180).resize(size).point(lambda v: 205 + v // 5)
    photo = ImageChops.multiply(photo, Image.merge("RGB", (light, light, light)))
    return photo.filter(ImageFilter.GaussianBlur(0.6))


# --- All of them ------------------------------------------------------------------------------

SAMPLES: tuple[Callable[[], Sample], ...] = (
    cafe_receipt,
    grocery_receipt,
    hardware_receipt,
    invoice,
    form,
    bar_chart,
    line_chart,
    screenshot,
    prose_page,
    shipping_label,
    timetable,
    photographed_notice,
)

PAIRS = """pair,image,note
tills,receipt-cafe.jpg,two receipts from different shops
tills,receipt-hardware.jpg,two receipts from different shops
charts,chart-bar-bicycles.png,two kinds of chart
charts,chart-line-solar.png,two kinds of chart
"""


def write_samples(folder: Path) -> list[Sample]:
    """Draw all samples into `folder`, with their truth and the manifest of pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [draw() for draw in SAMPLES]
    for sample in samples:
        sample.save(folder)
    rows = (json.dumps(sample.truth()) + "\n" for sample in samples)
    (folder / "truth.jsonl").write_text("".join(rows), encoding="utf-8")
    (folder / "pairs.csv").write_text(PAIRS, encoding="utf-8")
    return samples


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "samples"
    print(f"{len(write_samples(target))} images in {target}")
