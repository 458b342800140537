"""An evaluation on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vision_pipeline.cli.figures import in_line, say, share, usd
from vision_pipeline.core.comparing.comparers import Kind, as_text
from vision_pipeline.core.comparing.text import words
from vision_pipeline.core.plain_text import plain
from vision_pipeline.results.evaluation.scores import Evaluation, Example, FieldScore

_SHOWN_KEYS = 10
_MOST_CLASSES = 12
_DATE_ORDERS = {"day first", "month first"}


def show_evaluation(evaluation: Evaluation) -> None:
    """Print it: what was matched, a row a field, confusions, the worst answers, the cost."""
    console = Console()
    for line in matched_lines(evaluation):
        say(console, line)
    console.print(_fields(evaluation.fields))
    for each in evaluation.fields:
        if each.confusion:
            _confusion(console, each)
    _worst(console, evaluation.fields)
    for line in summary_lines(evaluation):
        say(console, line)


def show_runs(found: Sequence[Evaluation]) -> None:
    """Print the accuracy of each field in each run."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("field")
    for each in found:
        table.add_column(each.label, justify="right")
    names = list(dict.fromkeys(score.field for each in found for score in each.fields))
    rows: list[tuple[str, list[str]]] = [
        ("items", [str(each.rows) for each in found]),
        ("errors", [str(each.errors) for each in found]),
    ]
    for name in names:
        by_run = [{score.field: score for score in each.fields}.get(name) for each in found]
        rows.append((name, [share(score.accuracy) if score else "" for score in by_run]))
        if any(score and score.recall is not None for score in by_run):
            recalls = [score.recall if score else None for score in by_run]
            cells = ["" if recall is None else f"{recall:.1%}" for recall in recalls]
            rows.append((f"{name} recall", cells))
    rows.append(("all fields right", [share(each.accuracy) for each in found]))
    rows.append(("USD a right row", [usd(each.cost_per_right_usd) for each in found]))
    for name, cells in rows:
        table.add_row(Text(plain(name)), *cells)
    console.print(table)


def matched_lines(evaluation: Evaluation) -> list[str]:
    """What was judged, and what was not."""
    matching = evaluation.matching
    lines = [
        f"{evaluation.rows} rows matched by {matching.by} (`{matching.column}` of "
        f"{evaluation.truth}); of {evaluation.output}: {evaluation.label}"
    ]
    for where, names in (
        ("only in the truth", matching.only_in_truth),
        ("without a truth", matching.only_in_results),
    ):
        if names:
            shown = ", ".join(names[:_SHOWN_KEYS])
            more = ", …" if len(names) > _SHOWN_KEYS else ""
            lines.append(f"{where}: {len(names)}: {shown}{more}")
    renamed = [
        f"{each.field} from `{each.truth_column}`"
        for each in evaluation.fields
        if each.truth_column != each.field and "[]" not in each.field
    ]
    if renamed:
        lines.append(f"truths: {', '.join(renamed)}")
    if evaluation.unused:
        shown = ", ".join(evaluation.unused[:_SHOWN_KEYS])
        more = ", …" if len(evaluation.unused) > _SHOWN_KEYS else ""
        lines.append(f"about no field, unless by --map COLUMN=FIELD: {shown}{more}")
    if evaluation.unchecked:
        lines.append(f"not checked yet, and left out: {evaluation.unchecked} rows of the truth")
    return lines


def summary_lines(evaluation: Evaluation) -> list[str]:
    """All fields together, and the cost."""
    lines = [
        f"answered: {share(evaluation.coverage)} of the rows"
        + (f"; {evaluation.errors} errors count as wrong" if evaluation.errors else ""),
        f"right in every field: {share(evaluation.accuracy)} ({evaluation.right} of "
        f"{evaluation.rows})",
    ]
    for each in evaluation.fields:
        if each.recall is not None:
            lines.append(
                f"{each.field}: found {each.recall:.1%} ({each.found} of {each.wanted}), "
                f"{each.precision:.1%} of what was found is true"
            )
        if each.convention in _DATE_ORDERS:
            lines.append(f"{each.field}: the truth writes dates {each.convention}")
        if each.unreadable:
            lines.append(
                f"{each.field}: {each.unreadable} true values cannot be read as "
                f"{each.compared_as}, and count as wrong; choose with --compare {each.field}=KIND"
            )
    return [*lines, *_cost_lines(evaluation)]


def _cost_lines(evaluation: Evaluation) -> list[str]:
    if evaluation.cost_usd is None:
        return []
    line = f"cost: {usd(evaluation.cost_usd)} USD"
    if each := evaluation.cost_per_right_usd:
        line += f", {usd(each)} for each right row"
    if evaluation.from_ledger:
        line += f"; {evaluation.from_ledger} rows cost nothing, from the ledger"
    return [line]


def _fields(fields: Sequence[FieldScore]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("field", overflow="fold")
    table.add_column("as", no_wrap=True)
    for head in ("rows", "answered", "right", "accuracy [95 %]", "score", "USD/right"):
        table.add_column(head, justify="right", no_wrap=True)
    for each in fields:
        counts = (str(each.rows), str(each.answered), str(each.right))
        figures = (share(each.accuracy), f"{each.mean_score:.3f}", usd(each.cost_per_right_usd))
        table.add_row(Text(plain(each.field)), each.compared_as, *counts, *figures)
    return table


def _confusion(console: Console, score: FieldScore) -> None:
    labels = list(dict.fromkeys(label for pair in score.confusion for label in pair))
    say(console, f"{score.field}: true classes down, answers across")
    if len(labels) > _MOST_CLASSES:
        wrong = [(pair, count) for pair, count in score.confusion.items() if pair[0] != pair[1]]
        for (true, answer), count in wrong[:_MOST_CLASSES]:
            say(console, f"  {count} of {true} taken for {answer}")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for label in labels:
        table.add_column(Text(in_line(label)), justify="right")
    for true in labels:
        counts = [score.confusion.get((true, answer), 0) for answer in labels]
        if any(counts):
            table.add_row(Text(in_line(true)), *(str(count or "") for count in counts))
    console.print(table)


def _worst(console: Console, fields: Sequence[FieldScore]) -> None:
    if not any(each.worst for each in fields):
        return
    table = Table(box=None, pad_edge=False, title="worst answers", title_justify="left")
    for head in ("field", "item", "truth", "answer", "score"):
        table.add_column(head, overflow="fold")
    for each in fields:
        for one in each.worst:
            truth, answer = _differing(each, one)
            cells = (each.field, one.item_id, truth, answer, f"{one.score:.2f}")
            table.add_row(*(Text(plain(cell)) for cell in cells))
    console.print(table)


def _differing(score: FieldScore, one: Example) -> tuple[str, str]:
    """Truth and answer; of transcripts, the words that the other side lacks."""
    if one.error_code:
        return in_line(one.truth), f"({one.error_code})"
    if not score.compared_as.startswith(Kind.WORDS):
        return in_line(one.truth), in_line(one.answer)
    true, found = words(as_text(one.truth)), words(as_text(one.answer))
    missing, extra = " ".join((true - found).elements()), " ".join((found - true).elements())
    return in_line(f"missing: {missing}"), in_line(f"not true: {extra}")
