"""Plots as inline SVG; colours and type come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from vision_pipeline.results.report.figures import Seconds
from vision_pipeline.results.text import shown

_WIDTH, _HEIGHT, _FOOT = 320.0, 120.0, 18.0
_GAP = 1.0
_MOST_BARS = 40
REPLIES = "Replies over time"
_BRIEF_S = 120.0
_NO_TAIL = 99.5  # one slow reply must not squeeze all others into a bar
_HOUR_S = 3600.0


def latency_plot(latencies_s: Seconds) -> str:
    """How many replies took how long; "" for fewer than two."""
    if len(latencies_s) < 2:  # noqa: PLR2004
        return ""
    top = float(np.percentile(latencies_s, _NO_TAIL)) or 1.0
    counts, edges = np.histogram(np.minimum(latencies_s, top), bins=24, range=(0.0, top))
    labels = [
        f"{begin:.2f} to {end:.2f} s: {count}"
        for begin, end, count in zip(edges, edges[1:], counts, strict=False)
    ]
    return _bars(counts.tolist(), labels, ends=("0 s", f"{top:.1f} s"), name="Latency of replies")


def rate_plot(answered_at_s: Seconds) -> str:
    """How many replies came when, over a run; "" for one that took less than a second."""
    if len(answered_at_s) < 2 or answered_at_s[-1] - answered_at_s[0] < 1:  # noqa: PLR2004
        return ""
    span_s = float(answered_at_s[-1] - answered_at_s[0])
    step_s = max(span_s / _MOST_BARS, 1.0)
    counts, edges = np.histogram(
        answered_at_s - answered_at_s[0], bins=max(int(span_s / step_s), 1), range=(0.0, span_s)
    )
    labels = [
        f"{_duration(at)} after the first: {count} within {_duration(edges[1])}"
        for at, count in zip(edges, counts, strict=False)
    ]
    return _bars(counts.tolist(), labels, ends=("start", _duration(span_s)), name=REPLIES)


def share_bar(parts: Mapping[str, float], *, unit: str) -> str:
    """One bar cut into shares, largest first, with its legend."""
    total = sum(parts.values())
    if not total > 0:
        return ""
    begin, cuts, legend = 0.0, [], []
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    for number, (name, value) in enumerate(ordered):
        width = value / total * _WIDTH
        if width < _GAP:
            continue
        title = f"<title>{shown(name)}: {value:.1f} {unit}</title>"
        cuts.append(
            f'<rect class="s{number % 6}" x="{begin:.2f}" y="0" height="12" '
            f'width="{max(width - _GAP, 0.5):.2f}">{title}</rect>'
        )
        share = f"{value / total:.0%}"
        legend.append(f'<li><i class="s{number % 6}"></i>{shown(name)} <b>{share}</b></li>')
        begin += width
    return (
        f'<svg class="share" viewBox="0 0 {_WIDTH:g} 12" preserveAspectRatio="none" role="img" '
        f'aria-label="Shares">{"".join(cuts)}</svg><ul class="legend">{"".join(legend)}</ul>'
    )


def _bars(
    values: Sequence[float], labels: Sequence[str], *, ends: tuple[str, str], name: str
) -> str:
    top, step = max(*values, 1e-9), _WIDTH / len(values)
    drawn = []
    for number, (value, label) in enumerate(zip(values, labels, strict=True)):
        height = max(value / top * (_HEIGHT - 6), 1.5 if value else 0.0)
        drawn.append(
            f'<rect x="{number * step:.2f}" y="{_HEIGHT - height:.2f}" rx="1" '
            f'width="{step - _GAP:.2f}" height="{height:.2f}"><title>{escape(label)}</title></rect>'
        )
    foot = _HEIGHT + _FOOT - 4
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH:g} {_HEIGHT + _FOOT:g}" role="img" '
        f'aria-label="{escape(name)}">{"".join(drawn)}'
        f'<line x1="0" x2="{_WIDTH:g}" y1="{_HEIGHT:g}" y2="{_HEIGHT:g}"/>'
        f'<text x="0" y="{foot:g}">{escape(ends[0])}</text>'
        f'<text x="{_WIDTH:g}" y="{foot:g}" text-anchor="end">{escape(ends[1])}</text></svg>'
    )


def _duration(seconds: float) -> str:
    if seconds < _BRIEF_S:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * _HOUR_S else f"{seconds / _HOUR_S:.1f} h"
