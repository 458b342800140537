"""A page under the pen: colours, text, rules, and the printed lines in reading order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from PIL import Image, ImageDraw, ImageFont

WHITE, INK, MUTED, RULE = "#ffffff", "#1f2430", "#5b6472", "#c9ced6"
FRAME, ACCENT, TINT = "#8b94a3", "#1d5fa8", "#eaf1f9"

Cell = tuple[float, str] | tuple[float, str, str]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's bundled font; basic layout, since not every build has the other engine."""
    bundled = ImageFont.load_default(size=size)
    if not isinstance(bundled, ImageFont.FreeTypeFont):
        raise SystemExit("this Pillow was built without FreeType and cannot draw the samples")
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

    def wrapped(self, text: str, width: float) -> Iterator[str]:
        """The text in lines no wider than `width` px."""
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if self.width(longer) > width:
                yield line
                line = word
            else:
                line = longer
        yield line


@dataclass
class Page:
    """An image under the pen, and the text lines drawn on it so far, in reading order."""

    image: Image.Image
    lines: list[str] = field(default_factory=list)

    @classmethod
    def blank(cls, width: int, height: int, color: str = WHITE) -> Page:
        """An empty page."""
        return cls(Image.new("RGB", (width, height), color))

    @property
    def draw(self) -> ImageDraw.ImageDraw:
        """The drawing surface."""
        return ImageDraw.Draw(self.image)

    def line(self, y: float, *cells: Cell, pen: Pen | None = None) -> None:
        """Draw one printed line: cells are `(x, text)` or `(x, text, "l" | "m" | "r")`."""
        self.put(y, *cells, pen=pen)
        self.note(*(cell[1] for cell in cells))

    def put(self, y: float, *cells: Cell, pen: Pen | None = None) -> None:
        """Draw cells on the baseline `y` without noting them as a line."""
        pen = pen or Pen()
        for x, text, *anchor in cells:
            if not text.isascii():
                raise ValueError(f"the bundled font lacks letters of {text!r}")
            self.draw.text(
                (x, y),
                text,
                fill=pen.color,
                font=font(pen.size),
                anchor=(anchor[0] if anchor else "l") + "s",
                stroke_width=0.6 if pen.bold else 0,
            )

    def note(self, *texts: str) -> None:
        """Note what was put side by side as one printed line."""
        self.lines.append(" ".join(texts))

    def rule(self, y: float, left: float, right: float, color: str = RULE) -> None:
        """Draw a thin horizontal line."""
        self.draw.line((left, y, right, y), fill=color, width=2)

    def cut(self, height: int) -> None:
        """Cut off what is below `height`."""
        self.image = self.image.crop((0, 0, self.image.width, height))


def cells_at(columns: Sequence[float], texts: Sequence[str], anchors: str) -> list[Cell]:
    """One cell a column; `anchors` has a letter for each."""
    return list(zip(columns, texts, anchors, strict=True))
