"""The HTML of a report's page, but for its items."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from vision_pipeline.results.pictures import base64
from vision_pipeline.results.report.charts import REPLIES, latency_plot, rate_plot, share_bar
from vision_pipeline.results.report.entries import MEANINGS
from vision_pipeline.results.report.figures import Figures
from vision_pipeline.results.text import shown

_SPLIT = "<!-- items -->"
_THOUSAND = 1000
_MEDIAN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What all pages of a report have in common.

    Attributes:
        figures: The whole table's.
        title: Of the report.
        prompt: As `find_prompt` gives it.
        columns: For the script, as JSON: `fields`, the columns of the items' values, and `prompt`.
        pages: File names of all pages.
        items: Items in the report.
    """

    figures: Figures
    title: str
    prompt: Mapping[str, Any] | None
    columns: bytes
    pages: Sequence[str]
    items: int


def page_around(frame: Frame, *, page: int, items: int) -> tuple[bytes, bytes]:
    """What stands before a page's items and behind them.

    Args:
        frame: The report.
        page: Which of its pages, from 1.
        items: Items on this page.
    """
    figures = frame.figures
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    whole = _template().render(
        policy=policy,
        title=frame.title,
        style=style,
        script=script,
        asked=_asked(figures),
        figures=_tiles(figures),
        errors=_errors(figures),
        panels=_panels(figures),
        prompt=frame.prompt,
        runs=figures.runs[::-1],
        pages=frame.pages,
        page=page,
        shown_here=items,
        columns=frame.columns.decode(),
        footer=_footer(figures, frame.items),
        split=_SPLIT,
    )
    before, _, behind = whole.partition(_SPLIT)
    return before.encode(), behind.encode()


@cache
def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["shown"] = lambda text: Markup(shown(text))  # noqa: S704  (escaped there)
    return environment.from_string(_asset("page.html"))


def _hash(content: str) -> str:
    return f"'sha256-{base64(hashlib.sha256(content.encode()).digest())}'"


def _asked(figures: Figures) -> list[str]:
    newest = figures.runs[-1] if figures.runs else None
    return [part for part in (newest.question, newest.times) if part] if newest else []


def _tiles(figures: Figures) -> list[dict[str, str]]:
    failed, items = figures.items - figures.ok, figures.items
    share = f"{figures.ok / items:.1%} of all" if items else ""
    many = "all runs" if len(figures.runs) > 1 else "this run"
    tiles = [
        _tile("Items", _count(items), f"{len(figures.runs)} runs" if len(figures.runs) > 1 else ""),
        _tile("Answered", _count(figures.ok), share, "good"),
        _tile("Errors", _count(failed), _kinds(figures.errors), "bad" if failed else ""),
    ]
    if figures.cost_usd is not None:
        each = figures.cost_usd / figures.calls if figures.calls else 0
        note = f"{many}, {each * _THOUSAND:.2f} per 1,000 calls"
        tiles.append(_tile("Cost in USD", _usd(figures.cost_usd), note))
    if figures.calls:
        tokens = figures.prompt_tokens + figures.completion_tokens
        note = f"{_short(figures.prompt_tokens)} in, {_short(figures.completion_tokens)} out"
        tiles.append(_tile("Tokens", _short(tokens), note))
    if percentiles := figures.percentiles_s:
        note = ", ".join(f"{at} % within {percentiles[at]:.2f}" for at in (90, 99))
        tiles.append(_tile("Median latency in s", f"{percentiles[_MEDIAN]:.2f}", note))
    return tiles


def _tile(name: str, value: str, note: str = "", tone: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "note": note, "tone": tone}


def _kinds(errors: Mapping[str, int]) -> str:
    return f"{len(errors)} kinds" if len(errors) > 1 else next(iter(errors), "none")


def _errors(figures: Figures) -> list[dict[str, Any]]:
    return [
        {
            "name": code,
            "number": number,
            "count": _count(number),
            "hint": MEANINGS.get(code, ""),
        }
        for code, number in figures.errors.items()
    ]


def _panels(figures: Figures) -> list[dict[str, str]]:
    summary = figures.run.get("summary") or {}
    stages = share_bar(summary.get("seconds_by_stage") or {}, unit="s")
    rate_note = f"at most {_count(figures.most_in_a_minute)} within a minute"
    panels = [
        ("Latency of replies", latency_plot(figures.latencies_s), ""),
        (REPLIES, rate_plot(figures.answered_at_s), rate_note),
        ("Use of the quota", _quota(figures, summary.get("traffic") or {}), ""),
        ("Where the time went", stages, summary.get("advice") or ""),
    ]
    return [{"title": title, "body": body, "note": note} for title, body, note in panels if body]


def _quota(figures: Figures, traffic: Mapping[str, Any]) -> str:
    if not traffic:
        return ""
    lines = []
    if limit := traffic.get("requests_per_minute"):
        share = figures.most_in_a_minute / limit
        lines.append(("most replies within a minute, of the limit", f"{share:.0%}"))
        lines.append(("requests a minute allowed", _count(int(limit))))
    if limit := traffic.get("tokens_per_minute"):
        lines.append(("tokens a minute allowed", _count(int(limit))))
    named = {
        "sent": "requests sent",
        "refused": "refused by the rate limit",
        "failed": "failed and tried again",
        "most_in_flight": "most in flight at once",
    }
    lines += [(text, _count(int(traffic[name]))) for name, text in named.items() if name in traffic]
    cells = "".join(f"<dt>{shown(name)}</dt><dd>{shown(value)}</dd>" for name, value in lines)
    return f'<dl class="quota">{cells}</dl>'


def _footer(figures: Figures, shown_items: int) -> str:
    if shown_items < figures.items:
        return (
            f"The first {_count(shown_items)} of {_count(figures.items)} items are shown; "
            "--limit shows more. The figures count all of them."
        )
    return "Everything here is in this file; nothing is loaded from elsewhere."


def _count(number: int) -> str:
    return f"{number:,}"


def _short(number: int) -> str:
    for unit, size in (("bn", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}" if number < _THOUSAND * size else f"{number:,}"
    return str(number)


def _usd(cost: float) -> str:
    return f"{cost:,.2f}" if cost >= 1 else f"{cost:.4f}"
