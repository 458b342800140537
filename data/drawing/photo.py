"""A printed notice, photographed by a phone whose pixels lie sideways."""

from __future__ import annotations

from PIL import Image
from PIL.ExifTags import Base

from drawing.capture import on_a_table
from drawing.page import MUTED, Page, Pen
from drawing.sample import Sample

SIDEWAYS = 6  # EXIF: turn by 90 degrees clockwise to see it upright

HEAD, DATE, BODY = Pen(54, bold=True), Pen(40, bold=True), Pen(32)
NOTICE = (
    (HEAD, "WATER TURNED OFF"),
    (DATE, "Thursday 26 November"),
    (DATE, "from 8:30 to 14:00"),
    (BODY, ""),
    (BODY, "New meters are being fitted in"),
    (BODY, "all flats of Heron Street 55 to 63."),
    (BODY, "Please fill a kettle the evening"),
    (BODY, "before and keep taps closed."),
    (BODY, ""),
    (BODY, "Questions: caretaker, door 4,"),
    (BODY, "or call 555 0161."),
)


def photographed_notice() -> Sample:
    """A sheet on a wooden table; the phone was held upright."""
    sheet = Page.blank(860, 1060, "#f7f4ea")
    middle, y = 430, 130
    for pen, text in NOTICE:
        if text:
            sheet.line(y, (middle, text, "m"), pen=pen)
        y += pen.size + 34
    sheet.rule(y - 20, 120, 740, MUTED)
    sheet.line(y + 50, (middle, "Heron Street House Office", "m"), pen=Pen(30, MUTED))
    upright = on_a_table(sheet.image, seed=11)
    # Stored as the sensor saw it, a quarter turn to the left of how it was held.
    sheet.image = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[Base.Orientation] = SIDEWAYS
    options = {"exif": exif, "quality": 80}
    return Sample("photo-notice-sideways.jpg", "photo_of_document", sheet, options=options)
