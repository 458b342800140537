"""A run's summary as Markdown, for the artifact of its flow run."""

from collections.abc import Sequence

from vision_pipeline.core.errors import ErrorCode
from vision_pipeline.pipeline.run import Summary


def markdown(name: str, summary: Summary) -> str:
    """The report of one run: counts, cost, errors by code, and where the table is."""
    cost = "unknown (no list price)" if summary.cost_usd is None else f"{summary.cost_usd:.4f} USD"
    counts = [
        ("rows", summary.items),
        ("answered", summary.ok),
        ("errors", summary.failed),
        ("left alone, answered before", summary.already_answered),
        ("left alone, failed before", summary.already_failed),
        ("calls", summary.calls),
        ("from the ledger", summary.from_ledger),
        ("input tokens", summary.prompt_tokens),
        ("output tokens", summary.completion_tokens),
        ("cost", cost),
        ("seconds", f"{summary.seconds:.1f}"),
    ]
    models = [(model, rows) for model, rows in summary.models.items()]
    errors = [(code, rows, ErrorCode(code).meaning) for code, rows in summary.errors.items()]
    parts = [
        f"# {name}: {summary.run_id or 'nothing to do'}",
        _table(("", "count"), counts),
        f"Results: `{summary.results}`",
    ]
    if models:
        parts += ["## Answered by", _table(("model", "rows"), models)]
    if errors:
        parts += ["## Errors", _table(("code", "rows", "meaning"), errors)]
    return "\n\n".join(parts)


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
