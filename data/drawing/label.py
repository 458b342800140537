"""A parcel label with a sorting code and bars."""

from __future__ import annotations

import random

from drawing.page import INK, MUTED, WHITE, Page, Pen
from drawing.sample import Sample


def shipping_label() -> Sample:
    """Sender, addressee, sorting code, weight, tracking number and a warning."""
    recipient, street, town = "Ines Tarrow", "Flat 2, 61 Heron Street", "Port Ellery PE3 7LM"
    sort_code, tracking_number = "PE3-07", "NV 4410 0927 3355 PE"
    page = Page.blank(820, 1180)
    left, right, text, middle = 30, 790, 60, 410
    page.draw.rectangle((left, 30, right, 1150), outline=INK, width=5)
    page.line(104, (text, "NORDVEK PARCEL"), (760, "STANDARD", "r"), pen=Pen(46, bold=True))
    page.rule(136, left, right, INK)
    page.line(178, (text, "FROM"), pen=Pen(24, MUTED))
    page.line(216, (text, "Velstrand Hardware, Returns desk"))
    page.line(254, (text, "880 Mill Road, Velstrand VS 10233"))
    page.rule(284, left, right, INK)
    page.line(330, (text, "TO"), pen=Pen(26, MUTED))
    page.line(390, (text, recipient), pen=Pen(46, bold=True))
    page.line(446, (text, street), pen=Pen(40))
    page.line(500, (text, town), pen=Pen(40))
    page.rule(540, left, right, INK)
    page.line(588, (text, "SORT"), (450, "WEIGHT"), (620, "PIECE"), pen=Pen(24, MUTED))
    page.line(668, (text, sort_code), pen=Pen(84, bold=True))
    page.line(650, (450, "2.4 kg"), (620, "1 of 1"), pen=Pen(40))
    page.draw.line((420, 540, 420, 710), fill=INK, width=3)
    page.rule(710, left, right, INK)
    _bars(page, (90, 750, 730, 940), seed=41)
    page.line(990, (middle, tracking_number, "m"), pen=Pen(38))
    page.draw.rectangle((left, 1030, right, 1150), fill=INK)
    page.line(1107, (middle, "FRAGILE - THIS WAY UP", "m"), pen=Pen(48, WHITE, bold=True))
    fields = {
        "recipient": recipient,
        "recipient_address": f"{street}, {town}",
        "sort_code": sort_code,
        "weight_kg": 2.4,
        "tracking_number": tracking_number,
    }
    return Sample("label-parcel.png", "shipping_label", page, fields)


def _bars(page: Page, box: tuple[int, int, int, int], *, seed: int) -> None:
    """Draw upright bars that look like a barcode and encode nothing."""
    left, top, right, bottom = box
    dice = random.Random(seed)
    widths = (4, 4, 8, 12)
    x = left
    while x < right - 16:
        width = dice.choice(widths)
        page.draw.rectangle((x, top, x + width - 1, bottom), fill=INK)
        x += width + dice.choice(widths)
