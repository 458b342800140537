"""Receipts of three shops: a narrow one, a scanned one, and a wide one with columns."""

from __future__ import annotations

from drawing.capture import as_scanned
from drawing.page import MUTED, WHITE, Page, Pen, cells_at
from drawing.purchases import Purchase, money, total_cents
from drawing.sample import Sample


def cafe_receipt() -> Sample:
    """A narrow till receipt; day-first date, tax included in the prices."""
    vendor, address = "TANNBECK CAFE", "14 Quay Lane, Port Ellery"
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
    page.line(110, (middle, vendor, "m"), pen=Pen(52, bold=True))
    page.line(160, (middle, address, "m"), pen=Pen(28, MUTED))
    page.line(202, (middle, "Table 7   Served by Ines", "m"), pen=Pen(28, MUTED))
    page.rule(236, left, right, MUTED)
    page.line(284, (left, "Date 06/11/2026"), (right, "10:42", "r"), pen=Pen(30))
    page.line(328, (left, "Receipt no. 20417"), pen=Pen(30))
    page.rule(356, left, right, MUTED)
    y = 414
    for item in bought:
        values = (str(item.quantity), item.name, money(item.cents))
        page.line(y, *cells_at((left, left + 50, right), values, "llr"), pen=Pen(32))
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
    page.cut(y + 370)
    fields = {
        "vendor": vendor,
        "vendor_address": address,
        "receipt_date": "2026-11-06",
        "receipt_time": "10:42",
        "currency": "EUR",
        "items": [
            # Only line totals are printed: a unit price is known where one piece was bought.
            item.fields() if item.quantity == 1 else item.fields() | {"unit_price": None}
            for item in bought
        ],
        "subtotal": None,
        "tax": tax / 100,
        "total": total / 100,
        "payment_method": "card",
    }
    return Sample("receipt-cafe.jpg", "receipt", page, fields)


def grocery_receipt() -> Sample:
    """A long receipt as a scanner sees it: slightly turned, grey and noisy; paid in cash."""
    vendor, address = "ODDMOOR GROCERS", "3 Saddler Row, Oddmoor"
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
    page.line(110, (middle, vendor, "m"), pen=Pen(54, bold=True))
    page.line(164, (middle, address, "m"), pen=Pen(30))
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
    for below, label, cents, pen in (
        (0, "SUBTOTAL", total, Pen(34)),
        (50, "VAT 0%", 0, Pen(34)),
        (122, "TOTAL GBP", total, Pen(50, bold=True)),
        (186, "CASH", given, Pen(34)),
        (236, "CHANGE", given - total, Pen(34)),
    ):
        page.line(y + below, (left, label), (right, money(cents), "r"), pen=pen)
    page.rule(y + 266, left, right, MUTED)
    pieces = sum(item.quantity for item in bought)
    page.line(y + 320, (middle, f"{pieces} ITEMS SOLD", "m"), pen=Pen(32))
    page.line(y + 368, (middle, "PLEASE KEEP YOUR RECEIPT", "m"), pen=Pen(32))
    page.cut(y + 440)
    page.image = as_scanned(page.image, seed=7)
    fields = {
        "vendor": vendor,
        "vendor_address": address,
        "receipt_date": "2026-09-28",
        "receipt_time": "18:05",
        "currency": "GBP",
        "items": [item.fields() for item in bought],
        "subtotal": total / 100,
        "tax": 0.0,
        "total": total / 100,
        "payment_method": "cash",
    }
    return Sample("receipt-grocery-scan.jpg", "receipt", page, fields, {"quality": 72})


def hardware_receipt() -> Sample:
    """A wide receipt with columns; month written out, sales tax added at the end."""
    vendor, address = "Velstrand Hardware", "880 Mill Road, Velstrand"
    bought = (
        Purchase("Wood screws 4x40, box", 2, 649),
        Purchase("Paint brush 50 mm", 1, 875),
        Purchase("Masonry bit 8 mm", 3, 420),
        Purchase("Work gloves, size L", 1, 1299),
    )
    subtotal = total_cents(bought)
    tax = round(subtotal * 0.0725)
    total = subtotal + tax
    page = Page.blank(1000, 1080)
    left, unit, amount, right = 60, 760, 924, 940
    columns = (left + 16, 590, unit, amount)
    page.draw.rectangle((0, 0, 1000, 150), fill="#24382f")
    page.line(74, (left, vendor), pen=Pen(50, WHITE, bold=True))
    page.line(122, (left, address), pen=Pen(28, "#d5e3da"))
    number, day, hour = "Sales receipt HW-5583", "October 3, 2026", "4:17 PM"
    page.line(210, (left, number), (unit, day, "r"), (right, hour, "r"), pen=Pen(30))
    page.draw.rectangle((left, 246, right, 304), fill="#e9efeb")
    heads = ("Item", "Qty", "Unit", "Amount")
    page.line(286, *cells_at(columns, heads, "lrrr"), pen=Pen(28, bold=True))
    y = 354
    for item in bought:
        values = (item.name, str(item.quantity), money(item.unit_cents), money(item.cents))
        page.line(y, *cells_at(columns, values, "lrrr"), pen=Pen(30))
        page.rule(y + 22, left, right)
        y += 64
    y += 20
    for label, value in (("Subtotal", subtotal), ("Sales tax 7.25%", tax)):
        page.line(y, (unit, label, "r"), (amount, money(value), "r"), pen=Pen(30))
        y += 52
    y += 16
    page.line(y, (unit, "Total USD", "r"), (amount, money(total), "r"), pen=Pen(40, bold=True))
    page.rule(y + 40, left, right)
    page.line(y + 96, (left, "Paid with debit card"), (right, "Approval 771204", "r"), pen=Pen(30))
    note = "Returns within 30 days with this receipt."
    page.line(y + 150, (left, note), pen=Pen(28, MUTED))
    page.cut(y + 210)
    fields = {
        "vendor": vendor,
        "vendor_address": address,
        "receipt_date": "2026-10-03",
        "receipt_time": "16:17",
        "currency": "USD",
        "items": [item.fields() for item in bought],
        "subtotal": subtotal / 100,
        "tax": tax / 100,
        "total": total / 100,
        "payment_method": "card",
    }
    return Sample("receipt-hardware.jpg", "receipt", page, fields)
