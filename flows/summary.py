"""A run's summary as Markdown, for the artifact of its flow run."""

from collections.abc import Sequence

from vision_pipeline.core.errors import ErrorCode
from vision_pipeline.pipeline.summary import Summary

MAX_CELL = 200  # characters


def markdown(name: str, summary: Summary) -> str:
    """The report of one run: counts, cost, where the table is and the time went, and what failed.

    At most `MAX_FAILURES` failures are named one by one, at the end.
    """
    parts = [
        f"# {name}: {summary.run_id or 'nothing to do'}",
        _table(("", "count"), _counts(summary)),
        f"Results: {_linked(summary.results)}",
    ]
    if summary.errors:
        codes = [(code, rows, ErrorCode(code).meaning) for code, rows in summary.errors.items()]
        parts += ["## Errors", _table(("code", "rows", "meaning"), codes)]
    if summary.models:
        parts += ["## Answered by", _table(("model", "rows"), list(summary.models.items()))]
    if summary.seconds_by_stage:
        parts += ["## Where the time went", _stages(summary.seconds_by_stage)]
    if summary.advice:
        parts.append(f"Advice: {_cell(summary.advice)}")
    if summary.failures:
        parts += [f"## {_which(summary)}", _failures(summary)]
    return "\n\n".join(parts) + "\n"


def in_a_line(summary: Summary) -> str:
    """What became of a run, for lists of runs and artifacts."""
    if summary.run_id is None:
        return "nothing to do"
    cost = "" if summary.cost_usd is None else f", {summary.cost_usd:.4f} USD"
    return f"{summary.ok:,} answered, {summary.failed:,} errors{cost}"


def _counts(summary: Summary) -> list[tuple[str, object]]:
    cost = "unknown (no list price)" if summary.cost_usd is None else f"{summary.cost_usd:.4f} USD"
    return [
        ("rows", summary.items),
        ("answered", summary.ok),
        ("errors", summary.failed),
        ("left alone, answered before", summary.already_answered),
        ("left alone, failed before", summary.already_failed),
        ("calls since it went on" if summary.resumed else "calls", summary.calls),
        ("from the ledger", summary.from_ledger),
        ("input tokens", summary.prompt_tokens),
        ("output tokens", summary.completion_tokens),
        ("cost", cost),
        ("seconds since it went on" if summary.resumed else "seconds", f"{summary.seconds:.1f}"),
    ]


def _stages(seconds: dict[str, float]) -> str:
    total = sum(seconds.values()) or 1.0
    rows = [(stage, f"{spent:.1f}", f"{spent / total:.0%}") for stage, spent in seconds.items()]
    return _table(("waiting for", "seconds", "share"), rows)


def _which(summary: Summary) -> str:
    named = len(summary.failures)
    if named == summary.failed:
        return "Errors, one by one"
    return f"The first {named:,} of {summary.failed:,} errors"


def _failures(summary: Summary) -> str:
    keys = ("item_id", "error_code", "error_detail")
    rows = [tuple(failure[key] for key in keys) for failure in summary.failures]
    return _table(("item", "code", "detail"), rows)


def _linked(place: str) -> str:
    """A link where a browser may follow one: from a web page it opens no local file."""
    text = place.replace("`", "'")
    return f"[`{text}`](<{place}>)" if "://" in place else f"`{text}`"


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    """A value in one cell; what images, servers and users wrote is no markup."""
    text = f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())
    if len(text) > MAX_CELL:
        text = text[: MAX_CELL - 1] + "…"
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, "\\" + sign)
    return text
