"""A web app's order list: side bar, search, table, buttons."""

from __future__ import annotations

from drawing.page import ACCENT, MUTED, RULE, WHITE, Page, Pen, cells_at
from drawing.sample import Sample

HEADS = ("Order", "Customer", "Placed", "Status", "Amount")
ORDERS = (
    ("10482", "Ines Tarrow", "19 Nov", "Packed", "$58.20"),
    ("10481", "Lindqvale Library", "19 Nov", "Waiting", "$312.00"),
    ("10479", "Milo Ferncastle", "18 Nov", "Sent", "$24.95"),
    ("10476", "Tannbeck Cafe", "17 Nov", "Waiting", "$146.70"),
    ("10470", "Oddmoor Grocers", "16 Nov", "Overdue", "$89.10"),
)
TONES = {"Packed": "#dfeafa", "Waiting": "#fbf0d5", "Sent": "#ddf2e3", "Overdue": "#fbdedb"}
TEXT, LIGHT = Pen(26), Pen(26, WHITE)


def screenshot() -> Sample:
    """Five orders, one of them overdue."""
    page = Page.blank(1440, 900, "#f5f6f8")
    _bars(page)
    _orders(page)
    box = (300, 730, 1400, 850)
    page.draw.rounded_rectangle(box, 10, fill="#fff7e0", outline="#e6cf8a", width=2)
    page.line(780, (330, "1 order is overdue"), pen=Pen(28, bold=True))
    page.line(822, (330, "Order 10470 should have left on Monday."), pen=Pen(26, MUTED))
    return Sample("screenshot-orders.png", "screenshot", page)


def _bars(page: Page) -> None:
    """Draw the bars at the side and on top, and the page's title and button below the latter."""
    draw = page.draw
    draw.rectangle((0, 0, 260, 900), fill="#1f2a3c")
    draw.rectangle((260, 0, 1440, 90), fill=WHITE)
    draw.rounded_rectangle((14, 176, 246, 232), 8, fill="#34486a")
    draw.rounded_rectangle((300, 22, 860, 68), 8, outline=RULE, width=2)
    draw.ellipse((1352, 20, 1402, 70), fill="#3f7fbf")
    name, search, user = "Parceldesk", "Search orders", "IT"
    page.put(57, (36, name), pen=Pen(32, WHITE, bold=True))
    page.put(55, (324, search), pen=Pen(26, MUTED))
    page.put(54, (1377, user, "m"), pen=LIGHT)
    page.note(name, search, user)
    page.line(150, (300, "Open orders"), pen=Pen(40, bold=True))
    page.line(213, (36, "Orders"), pen=LIGHT)
    for y, entry in ((283, "Returns"), (353, "Customers"), (423, "Reports"), (493, "Settings")):
        page.line(y, (36, entry), pen=Pen(26, "#b9c4d6"))
    draw.rounded_rectangle((1190, 112, 1400, 166), 8, fill=ACCENT)
    page.line(148, (1295, "New order", "m"), pen=LIGHT)


def _orders(page: Page) -> None:
    """Draw the table, each status on a patch of its tone."""
    columns = (330, 500, 800, 1000, 1370)
    page.draw.rounded_rectangle((300, 196, 1400, 690), 10, fill=WHITE, outline=RULE, width=2)
    page.line(244, *cells_at(columns, HEADS, "llllr"), pen=Pen(24, MUTED))
    for y, order in zip(range(320, 730, 82), ORDERS, strict=True):
        status = order[3]
        patch = (986, y - 30, 1014 + TEXT.width(status), y + 14)
        page.rule(y - 50, 300, 1400, "#e8ebef")
        page.draw.rounded_rectangle(patch, 22, fill=TONES[status])
        page.line(y, *cells_at(columns, order, "llllr"), pen=TEXT)
