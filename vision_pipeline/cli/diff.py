"""The command `diff`: two runs, or two outputs, beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_pipeline.cli.arguments import JsonOption, OutputArgument, print_json
from vision_pipeline.cli.judging import CompareOption, KeyOption, MapOption
from vision_pipeline.cli.pairs import pairs
from vision_pipeline.core.errors import ConfigError, OutputError

EPILOG = """
Examples:

    vision-pipeline diff data/outputs/receipts

    vision-pipeline diff data/outputs/receipts 20261122T101500Z-3f2a latest --truth truth.csv

    vision-pipeline diff data/outputs/receipts-small data/outputs/receipts-large --html diff.html
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diff", epilog=EPILOG)(_diff)


def _diff(
    output: OutputArgument,
    before: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN_A | OUTPUT_B]",
            help="A run: its id, its beginning or end, latest or previous. Alone, the output "
            "folder to compare with. Neither: previous and latest.",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Argument(metavar="[RUN_B]", help="The other run.", show_default=False)
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="True answers, as for `evaluate`: the gain in accuracy."),
    ] = None,
    compare: CompareOption = None,
    rename: MapOption = None,
    key: KeyOption = None,
    most: Annotated[
        int, typer.Option("--show", metavar="N", min=0, help="Changed cells to show of each field.")
    ] = 10,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with images, for a browser.")
    ] = None,
    *,
    skip_blank: Annotated[
        bool, typer.Option("--skip-blank", help="A blank truth is unknown.")
    ] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Also rows that `checked` does not mark.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs of an output, or the latest rows of two outputs.

    Of the items that both have: changed cells side by side, errors that came and went, cost and
    latency, and, with --truth, whether accuracy changed by more than chance.
    """
    from vision_pipeline.results.evaluation.differing import diff

    other = None
    if before is not None and after is None:
        other, before = _other_output(output, before), None
    difference = diff(
        output,
        before,
        after,
        other=other,
        compare=pairs("--compare", compare),
        truth=truth,
        renamed={field: column for column, field in pairs("--map", rename).items()},
        key=key,
        skip_blank=skip_blank,
        unchecked=unchecked,
    )
    if html:
        from vision_pipeline.results.evaluation.page import DIFFERENCE, write_found

        write_found(DIFFERENCE, difference, html)
    if as_json:
        print_json(difference.to_dict())
        return
    from vision_pipeline.cli.diff_display import show_difference

    show_difference(difference, most)


def _other_output(output: str, given: str) -> str:
    from vision_pipeline.results.table import open_folder

    try:
        open_folder(given)
    except OutputError as error:
        raise ConfigError(
            f"{error}; two runs of one output are `diff {output} RUN_A RUN_B`"
        ) from None
    return given
