"""The command `evaluate`: answers against the truth, or the start of one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision_pipeline.cli.arguments import JsonOption, OutputArgument, print_json
from vision_pipeline.cli.figures import in_line
from vision_pipeline.cli.judging import CompareOption, KeyOption, MapOption
from vision_pipeline.cli.pairs import pairs, shares
from vision_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from vision_pipeline.results.evaluation.judging import Judgement
    from vision_pipeline.results.evaluation.scores import Evaluation
    from vision_pipeline.results.evaluation.truth import Truth

EPILOG = """
Examples:

    vision-pipeline evaluate data/outputs/receipts --truth truth.csv

    vision-pipeline evaluate data/outputs/receipts --truth truth.jsonl --map truth.company=vendor --compare total=money --min total=0.95

    vision-pipeline evaluate data/outputs/receipts --truth truth.csv --runs

    vision-pipeline evaluate data/outputs/receipts --start-truth 50 --out truth.csv
"""  # noqa: E501


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", epilog=EPILOG)(_evaluate)


def _evaluate(
    output: OutputArgument,
    truth: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="True answers: CSV, TSV, JSON Lines, JSON or Parquet."),
    ] = None,
    compare: CompareOption = None,
    rename: MapOption = None,
    minimum: Annotated[
        list[str] | None,
        typer.Option(
            "--min",
            metavar="FIELD=SHARE",
            help="Exit code 1 where a field's accuracy is less; also FIELD.recall, .precision, "
            ".f1.",
        ),
    ] = None,
    key: KeyOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Only this run: an id, its beginning or end, latest, previous. Default: the "
            "latest row of each item.",
        ),
    ] = None,
    worst: Annotated[
        int, typer.Option(metavar="N", min=0, help="Wrong answers to show of each field.")
    ] = 3,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with images, for a browser.")
    ] = None,
    start_truth: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Draw N items to correct by hand, as a CSV and a page."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where --start-truth writes its CSV.")
    ] = Path("truth.csv"),
    stratify: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD", help="--start-truth: the field whose answers to spread over."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="--start-truth: another draw.")] = 0,
    *,
    runs: Annotated[bool, typer.Option("--runs", help="Each run by itself, side by side.")] = False,
    skip_blank: Annotated[
        bool,
        typer.Option("--skip-blank", help="A blank truth is unknown, not that nothing is right."),
    ] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Also rows that `checked` does not mark.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge answers against true ones, field by field; or draw items to make a truth of.

    Rows of the truth are matched by item id, image URI or file name. A row without an answer is
    wrong in every field. Shares come with the bounds that hold them in 95 of 100 samples.
    Exit codes: 0; 1 a field is below its --min; 2 bad usage, or a truth that cannot be used.
    """
    if start_truth is not None:
        _refuse_both(truth)
        _start(output, start_truth, out, stratify=stratify, seed=seed, run=run, as_json=as_json)
        return
    if truth is None:
        raise ConfigError(
            "name the true answers with --truth FILE, or begin some with --start-truth N"
        )
    if runs and (run or minimum or html):
        raise ConfigError("--runs shows all runs; it goes with none of --run, --min and --html")
    from vision_pipeline.results.evaluation.judging import Judgement, judge
    from vision_pipeline.results.evaluation.rows import read_chosen
    from vision_pipeline.results.evaluation.truth import read_truth

    how = Judgement(
        compare=pairs("--compare", compare),
        renamed={field: column for column, field in pairs("--map", rename).items()},
        key=key,
        skip_blank=skip_blank,
        worst=worst,
    )
    least = shares("--min", minimum)
    true = read_truth(truth, unchecked=unchecked)
    if runs:
        found = _judged_runs(output, true, how)
        _show_runs(found, as_json=as_json)
        return
    evaluation = judge(read_chosen(output, run), true, how)
    below = evaluation.below(least)
    if html:
        from vision_pipeline.results.evaluation.page import EVALUATION, write_found

        write_found(EVALUATION, evaluation, html)
    _show(evaluation, below, least, as_json=as_json)
    raise typer.Exit(int(bool(below)))


def _judged_runs(output: str, truth: Truth, how: Judgement) -> list[Evaluation]:
    """Each run that can be judged; the others are told of."""
    from vision_pipeline.results.evaluation.judging import judge
    from vision_pipeline.results.evaluation.rows import read_chosen, run_ids

    found, untold = [], None
    for each in run_ids(output):
        try:
            found.append(judge(read_chosen(output, each), truth, how))
        except ConfigError as error:  # of another prompt, or about other items
            untold = error
            print(f"run {each} is left out: {error}", file=sys.stderr)
    if not found and untold is not None:
        raise untold
    return found


def _refuse_both(truth: str | None) -> None:
    if truth is not None:
        raise ConfigError("--start-truth begins a truth; leave out --truth")


def _show(
    evaluation: Evaluation, below: Sequence[str], least: Mapping[str, float], *, as_json: bool
) -> None:
    if as_json:
        print_json(evaluation.to_dict() | {"below": list(below)})
        return
    from vision_pipeline.cli.evaluate_display import show_evaluation

    show_evaluation(evaluation)
    for line in below:
        print(f"below --min: {line}")
    if least and not below:
        print(f"--min: met by {', '.join(least)}")


def _show_runs(found: Sequence[Evaluation], *, as_json: bool) -> None:
    if as_json:
        print_json([each.to_dict() for each in found])
        return
    from vision_pipeline.cli.evaluate_display import show_runs

    show_runs(found)


def _start(
    output: str,
    count: int,
    out: Path,
    *,
    stratify: str | None,
    seed: int,
    run: str | None,
    as_json: bool,
) -> None:
    from vision_pipeline.results.evaluation.starting import start_truth

    started = start_truth(output, out, count=count, stratify=stratify, seed=seed, run=run)
    if as_json:
        print_json(started.to_dict())
        return
    for stratum, (drawn, there) in started.strata.items():
        print(f"{drawn} of {there}: {in_line(stratum)}")
    print(f"the answers to correct: {started.page} (open it in a browser), or {started.table}")
    print(f"then: vision-pipeline evaluate {output} --truth {started.table}")
