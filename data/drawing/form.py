"""A filled form: printed labels, blue entries, ticked boxes."""

from __future__ import annotations

from drawing.page import FRAME, INK, MUTED, Page, Pen
from drawing.sample import Sample

LEFT, MIDDLE, RIGHT = 80, 570, 1020
BALLPOINT = "#1b3fa0"
HANDWRITING = Pen(36, BALLPOINT)


def form() -> Sample:
    """An application for membership of a sailing club."""
    page = Page.blank(1100, 1420)
    page.line(110, (LEFT, "Membership application"), pen=Pen(50, bold=True))
    page.line(158, (LEFT, "Ellery Sailing Club - please fill in block letters"), pen=Pen(28, MUTED))
    page.rule(190, LEFT, RIGHT, INK)
    first, second = (LEFT, MIDDLE - 30), (MIDDLE, RIGHT)
    _entries(page, 260, (*first, "First name", "MILO"), (*second, "Last name", "FERNCASTLE"))
    _entries(page, 400, (*first, "Date of birth", "23.04.1991"), (*second, "Phone", "555 0178"))
    _entries(page, 540, (LEFT, RIGHT, "Street and number", "19 LANTERN STEPS"))
    _entries(page, 680, (LEFT, 340, "Postcode", "PE3 7LK"), (370, RIGHT, "Town", "PORT ELLERY"))
    _entries(page, 820, (LEFT, RIGHT, "E-mail", "milo@example.com"))
    page.line(980, (LEFT, "Kind of membership (tick one)"), pen=Pen(28, bold=True))
    _choices(page, 1036, ("Single", True), ("Family", False), ("Youth", False))
    page.line(1110, (LEFT, "I can bring"), pen=Pen(28, bold=True))
    _choices(page, 1166, ("My own boat", False), ("A life vest", True), ("Tools", True))
    page.rule(1300, LEFT, 420, INK)
    page.rule(1300, MIDDLE, RIGHT, INK)
    page.line(1288, (LEFT + 10, "17.10.2026"), (MIDDLE + 10, "M. Ferncastle"), pen=HANDWRITING)
    page.line(1336, (LEFT, "Date"), (MIDDLE, "Signature"), pen=Pen(26, MUTED))
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


def _entries(page: Page, y: int, *entries: tuple[int, int, str, str]) -> None:
    """Draw labels above boxes, values inside; entries are `(left, right, label, value)`."""
    page.line(y - 12, *((left, label) for left, _, label, _ in entries), pen=Pen(26, MUTED))
    for left, right, _, _ in entries:
        page.draw.rounded_rectangle((left, y, right, y + 68), 6, outline=FRAME, width=2)
    page.line(y + 47, *((left + 20, value) for left, _, _, value in entries), pen=HANDWRITING)


def _choices(page: Page, y: int, *choices: tuple[str, bool]) -> None:
    """Draw one box a choice, crossed where it is chosen, with its label to the right."""
    boxes = [LEFT + 310 * number for number in range(len(choices))]
    for left, (_, is_chosen) in zip(boxes, choices, strict=True):
        page.draw.rectangle((left, y - 28, left + 32, y + 4), outline=INK, width=3)
        if is_chosen:
            for start, end in ((y - 23, y - 1), (y - 1, y - 23)):
                page.draw.line((left + 5, start, left + 27, end), fill=BALLPOINT, width=6)
    page.line(y, *((left + 52, label) for left, (label, _) in zip(boxes, choices, strict=True)))
