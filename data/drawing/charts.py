"""Two charts whose values are printed beside their marks: bars, and lines with a legend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drawing.page import ACCENT, INK, MUTED, Page, Pen
from drawing.sample import Sample

BICYCLES = {
    "Jan": 412,
    "Feb": 465,
    "Mar": 738,
    "Apr": 1024,
    "May": 1390,
    "Jun": 1615,
    "Jul": 1572,
    "Aug": 1488,
    "Sep": 1207,
}


@dataclass(frozen=True)
class Roof:
    """A line of the line chart."""

    name: str
    color: str
    yields: Mapping[str, float]


ROOFS = (
    Roof(
        "North roof",
        "#c2571a",
        {"2020": 18.2, "2021": 17.6, "2022": 16.9, "2023": 15.4, "2024": 14.8, "2025": 13.1},
    ),
    Roof(
        "South roof",
        ACCENT,
        {"2020": 24.5, "2021": 26.1, "2022": 25.3, "2023": 27.8, "2024": 29.4, "2025": 31.2},
    ),
)


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

    def points(self, values: Iterable[float]) -> list[tuple[float, float]]:
        """Where the values lie, each in a slot of its own."""
        heights = [self.y(value) for value in values]
        return [(self.x(index, len(heights)), height) for index, height in enumerate(heights)]

    def axis(self, page: Page, *, step: int) -> None:
        """Draw grid lines with their values, largest first, and the base line."""
        for value in range(self.ceiling, -1, -step):
            page.rule(self.y(value), self.left, self.right, "#e3e6eb")
            page.line(self.y(value) + 9, (self.left - 18, str(value), "r"), pen=Pen(26, MUTED))
        page.rule(self.bottom, self.left, self.right, INK)

    def slots(self, page: Page, y: float, names: Sequence[str]) -> None:
        """Draw a name under each slot."""
        page.line(y, *((self.x(index, len(names)), name, "m") for index, name in enumerate(names)))


def bar_chart() -> Sample:
    """Bars with their values printed on top."""
    title = "Bicycles counted at Ellery Bridge"
    x_label, y_label = "Month of 2026", "Bicycles per day"
    page = Page.blank(1280, 860)
    plot = Plot(150, 200, 1230, 720, 2000)
    page.line(84, (70, title), pen=Pen(44, bold=True))
    page.line(150, (70, y_label), pen=Pen(28, MUTED))
    plot.axis(page, step=500)
    values = BICYCLES.values()
    for (x, top), value in zip(plot.points(values), values, strict=True):
        page.draw.rectangle((x - 38, top, x + 38, plot.bottom - 2), fill="#3f7fbf")
        page.put(top - 14, (x, str(value), "m"), pen=Pen(30, bold=True))
    page.note(*map(str, values))
    plot.slots(page, 764, list(BICYCLES))
    page.line(820, (690, x_label, "m"), pen=Pen(28, MUTED))
    fields = {
        "chart_type": "bar",
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
        "unit": y_label,
        "series": [_series(y_label, BICYCLES)],
    }
    return Sample("chart-bar-bicycles.png", "chart", page, fields)


def line_chart() -> Sample:
    """Two lines with a legend and every value printed beside its point."""
    title = "Solar yield by roof, 2020 to 2025"
    x_label, y_label = "Year", "Yield in MWh"
    page = Page.blank(1280, 860)
    plot = Plot(130, 220, 1230, 720, 40)
    page.line(84, (60, title), pen=Pen(44, bold=True))
    page.put(150, (60, y_label), pen=Pen(28, MUTED))
    for x, roof in zip((760, 1010), ROOFS, strict=True):
        page.draw.line((x, 141, x + 50, 141), fill=roof.color, width=6)
        page.put(150, (x + 64, roof.name))
    page.note(y_label, *(roof.name for roof in ROOFS))
    plot.axis(page, step=10)
    for roof in ROOFS:
        _line(page, plot, roof)
    for roof in reversed(ROOFS):  # the last one lies highest
        page.note(*map(str, roof.yields.values()))
    plot.slots(page, 766, list(ROOFS[0].yields))
    page.line(822, (680, x_label, "m"), pen=Pen(28, MUTED))
    fields = {
        "chart_type": "line",
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
        "unit": "MWh",
        "series": [_series(roof.name, roof.yields) for roof in ROOFS],
    }
    return Sample("chart-line-solar.png", "chart", page, fields)


def _line(page: Page, plot: Plot, roof: Roof) -> None:
    values = roof.yields.values()
    points = plot.points(values)
    page.draw.line(points, fill=roof.color, width=5, joint="curve")
    for (x, y), value in zip(points, values, strict=True):
        page.draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=roof.color)
        page.put(y - 22, (x, str(value), "m"), pen=Pen(30, roof.color, bold=True))


def _series(name: str, values: Mapping[str, float]) -> dict[str, Any]:
    """An entry of `series` in the chart template's answer."""
    points = [{"x": x, "y": y, "is_estimated": False} for x, y in values.items()]
    return {"name": name, "points": points}
