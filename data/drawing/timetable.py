"""A ruled table with a header row, some of whose cells stand for nothing (`none`)."""

from __future__ import annotations

from drawing.page import ACCENT, FRAME, MUTED, RULE, TINT, WHITE, Page, Pen, cells_at
from drawing.sample import Sample

HEADS = ("Ferry", "Port Ellery", "Gull Isle", "Sand Quay", "Oddmoor", "Days")
FERRIES = (
    ("F1", "06:10", "06:45", "07:20", "08:05", "Mon-Fri"),
    ("F3", "07:30", "08:05", "08:40", "09:25", "Daily"),
    ("F5", "09:00", "none", "10:00", "10:45", "Daily"),
    ("F7", "12:15", "12:50", "13:25", "14:10", "Sat, Sun"),
    ("F9", "15:40", "16:15", "16:50", "17:35", "Daily"),
    ("F11", "18:20", "none", "19:20", "20:05", "Mon-Fri"),
    ("F13", "21:00", "21:35", "22:10", "22:55", "Fri, Sat"),
)


def timetable() -> Sample:
    """The departures of seven ferries, every other row tinted."""
    page = Page.blank(1320, 900)
    left, right, top, height = 60, 1260, 176, 72
    bottom = top + (1 + len(FERRIES)) * height
    columns = (84, 230, 450, 650, 860, 1070)
    page.line(96, (left, "Ferry timetable, winter 2026/27"), pen=Pen(46, bold=True))
    page.line(140, (left, "Departures in local time. Valid from 1 November."), pen=Pen(28, MUTED))
    page.draw.rectangle((left, top, right, top + height), fill=ACCENT)
    page.line(top + 47, *cells_at(columns, HEADS, "llllll"), pen=Pen(30, WHITE, bold=True))
    for number, ferry in enumerate(FERRIES, start=1):
        y = top + number * height
        if number % 2 == 0:
            page.draw.rectangle((left, y, right, y + height), fill=TINT)
        page.line(y + 47, *cells_at(columns, ferry, "llllll"), pen=Pen(32))
    page.draw.rectangle((left, top, right, bottom), outline=FRAME, width=2)
    for x in columns[1:]:
        page.draw.line((x - 24, top, x - 24, bottom), fill=RULE, width=2)
    page.line(822, (left, "none: the ferry does not stop at Gull Isle."), pen=Pen(28, MUTED))
    fields = {"columns": list(HEADS), "rows": [list(ferry) for ferry in FERRIES]}
    return Sample("table-ferries.png", "table", page, fields)
