"""Options of the commands that hold answers against a truth."""

from __future__ import annotations

from typing import Annotated

import typer

CompareOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=KIND",
        help="How to compare a field: exact, enum, boolean, number[:0.01|:1%], money, date, "
        "datetime[:SECONDS], text[:0.9], words[:0.9], set[:1], list[:1]. Default: by its type; of "
        "two outputs, only equal cells are the same.",
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="COLUMN=FIELD", help="The truth's column about a field."),
]
KeyOption = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The truth's column of ids, URIs or file names."),
]
