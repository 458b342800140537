"""Figures and values of judged tables, in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vision_pipeline.core.forecast import Interval
from vision_pipeline.core.plain_text import plain

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_CHARS = 160
_CENT = 0.01


def share(interval: Interval) -> str:
    """A share with its bounds, in percent."""
    return f"{interval.likely:.1%} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def usd(cost: float | None) -> str:
    """An amount of dollars, a small one with more digits; nothing where it is not known."""
    if cost is None:
        return ""
    return f"{cost:.6f}" if 0 < cost < _CENT else f"{cost:.4f}"


def in_line(value: Any) -> str:  # noqa: ANN401
    """A value of a cell in one short line."""
    if value is None:
        return "(nothing)"
    text = " ".join(str(value).split())
    return plain(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")


def say(console: Console, line: str) -> None:
    """Print a line that may hold the text of others."""
    console.print(plain(line), markup=False, highlight=False, soft_wrap=True)
