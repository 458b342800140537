"""The command `compact`: many small result files into few."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from vision_pipeline.cli.arguments import JsonOption, OutputArgument, WaitOption, print_json

EPILOG = """
Examples:

    vision-pipeline compact data/outputs/receipts

    vision-pipeline compact data/outputs/receipts --run 20261122T101500Z-3f2a --target-mb 512
"""
MB = 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compact", epilog=EPILOG)(_compact)


def _compact(
    output: OutputArgument,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this run; default: all finished ones.")
    ] = None,
    target_mb: Annotated[
        int, typer.Option(metavar="N", min=1, help="A file is closed once it holds N MiB.")
    ] = 128,
    *,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge the small result files of finished runs into few large ones.

    Rows, columns and what counts as done stay as they are. Readers see the old files or the new
    ones, never a mixture; that needs a local folder. A compaction that is killed changes nothing,
    or is complete.
    """
    from vision_pipeline.wiring.compacting import compact

    job = compact(output, run_id=run, target_bytes=target_mb * MB, wait=wait)
    done = asyncio.run(job)
    if as_json:
        print_json([asdict(each) for each in done])
        return
    for each in done:
        if each.files_before == each.files_after:
            print(f"{each.run_id}: nothing to merge")
            continue
        print(
            f"{each.run_id}: {each.files_before} files to {each.files_after}, "
            f"{each.bytes_before / MB:.2f} to {each.bytes_after / MB:.2f} MiB"
        )
    if not done:
        print("no finished run has files")
