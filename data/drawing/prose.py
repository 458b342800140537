"""A page of a book, in paragraphs."""

from __future__ import annotations

from drawing.page import MUTED, Page, Pen
from drawing.sample import Sample

PARAGRAPHS = (
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
    """Running head, chapter, text and page number."""
    page = Page.blank(1060, 1500, "#fdfbf5")
    left, right, middle = 120, 940, 530
    page.line(110, (middle, "THE HARBOUR BOOK", "m"), pen=Pen(24, MUTED))
    page.line(220, (left, "Chapter 4"), pen=Pen(30, MUTED))
    page.line(282, (left, "What the stones knew"), pen=Pen(48, bold=True))
    pen, y = Pen(30), 366
    for paragraph in PARAGRAPHS:
        for text in pen.wrapped(paragraph, right - left):
            page.line(y, (left, text), pen=pen)
            y += 46
        y += 26
    page.line(1446, (middle, "57", "m"), pen=Pen(26, MUTED))
    return Sample("page-prose.png", "page_of_text", page)
