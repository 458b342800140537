"""Where settings stand in a drawing of accuracy over cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision_pipeline.core.forecast import Interval

WIDTH, HEIGHT, MARGIN = 640, 320, 48  # of the drawing, in its own units
_LEAST_SPAN = 0.01  # of the vertical axis


@dataclass(frozen=True, slots=True)
class Point:
    """A setting in the drawing; all in its units, from the upper left corner.

    Attributes:
        high: Where the upper bound of its accuracy is, and `low` the lower one.
    """

    x: float
    y: float
    high: float
    low: float


@dataclass(frozen=True, slots=True)
class Plot:
    """The drawing.

    Attributes:
        points: One a setting.
        frontier: Its corners, as `points` of a polyline.
        most: The right end of the horizontal axis, which begins at 0.
        shares: Both ends of the vertical one.
    """

    points: Sequence[Point]
    frontier: str
    most: float
    shares: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT
    margin: int = MARGIN


def plot_of(
    costs: Sequence[float], accuracies: Sequence[Interval], are_best: Sequence[bool]
) -> Plot:
    """Where everything stands.

    Args:
        costs: Of each setting, from 0; one at least.
        accuracies: Of each, from 0 to 1.
        are_best: Whether it is on the frontier.
    """
    most = max(costs) or 1.0
    low = min(accuracy.low for accuracy in accuracies)
    high = max(low + _LEAST_SPAN, *(accuracy.high for accuracy in accuracies))

    def x(cost: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * cost / most, 1)

    def y(share: float) -> float:
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (share - low) / (high - low), 1)

    points = [
        Point(x(cost), y(accuracy.likely), y(accuracy.high), y(accuracy.low))
        for cost, accuracy in zip(costs, accuracies, strict=True)
    ]
    best = sorted((each.x, each.y) for each, on in zip(points, are_best, strict=True) if on)
    corners = " ".join(f"{left},{top}" for left, top in best)
    return Plot(points, corners, most, (low, high))
