"""The commands under `ledger`: look into the paid replies, and mend a file of them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision_pipeline.cli.arguments import JsonOption, load_config, print_json
from vision_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from vision_pipeline.adapters.ledger.pruning import Choice
    from vision_pipeline.adapters.ledger.tools import LedgerTools
    from vision_pipeline.wiring.ledgers import LedgerPlace

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="LEDGER",
        help="A ledger file, a database (postgresql://user@host/name), an output folder, or a "
        "recipe (.yaml, .yml).",
    ),
]
RECIPE_SUFFIXES = (".yaml", ".yml")

INSPECT_EPILOG = """
Examples:

    vision-pipeline ledger inspect data/outputs/receipts

    vision-pipeline ledger inspect configs/receipts.yaml --json

    vision-pipeline ledger inspect postgresql://user@host/database
"""
VERIFY_EPILOG = """
Example:

    vision-pipeline ledger verify data/outputs/receipts
"""
EXPORT_EPILOG = """
Examples:

    vision-pipeline ledger export data/outputs/receipts --out replies.parquet

    vision-pipeline ledger export shared.sqlite --out replies.jsonl
"""
PRUNE_EPILOG = """
Examples:

    vision-pipeline ledger prune data/outputs/receipts --superseded --dry-run

    vision-pipeline ledger prune data/outputs/receipts --before 2026-01-01 --yes

    vision-pipeline ledger prune shared.sqlite --run 20261122T101500Z-3f2a
"""
SALVAGE_EPILOG = """
Example:

    vision-pipeline ledger salvage data/outputs/receipts
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    ledger = typer.Typer(
        help="Look into the paid replies, check them, copy them, delete some, or save what is left "
        "of a damaged file.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    ledger.command("inspect", epilog=INSPECT_EPILOG)(_inspect)
    ledger.command("verify", epilog=VERIFY_EPILOG)(_verify)
    ledger.command("export", epilog=EXPORT_EPILOG)(_export)
    ledger.command("prune", epilog=PRUNE_EPILOG)(_prune)
    ledger.command("salvage", epilog=SALVAGE_EPILOG)(_salvage)
    app.add_typer(ledger, name="ledger")


def _find(target: str) -> LedgerPlace:
    from vision_pipeline.core.databases import is_database
    from vision_pipeline.wiring.ledgers import ledger_of_output, ledger_of_recipe, named_place

    if target.lower().endswith(RECIPE_SUFFIXES):
        return ledger_of_recipe(load_config(Path(target)))
    if is_database(target):
        return named_place(target)
    if "://" in target or Path(target).is_dir():
        return ledger_of_output(target)
    return Path(target)


def _tools(target: str) -> LedgerTools:
    from vision_pipeline.wiring.ledgers import ledger_tools

    return ledger_tools(_find(target))


def _inspect(target: TargetArgument, *, as_json: JsonOption = False) -> None:
    """Show how many replies there are, of which runs and models, what they cost, and their size."""
    found = _tools(target).inspect()
    if as_json:
        print_json(found.to_dict())
        return
    from vision_pipeline.cli.ledger_display import print_inspection

    print_inspection(found)


def _verify(target: TargetArgument, *, as_json: JsonOption = False) -> None:
    """Check a file page by page, and that every reply in it or in the database can be used.

    Exit codes: 0 sound; 1 something is wrong, and what to do is said; 2 no ledger.
    """
    found = _tools(target).verify(now=datetime.now(UTC))
    if as_json:
        print_json(found.to_dict())
    else:
        from vision_pipeline.cli.ledger_display import print_verification

        print_verification(found)
    raise typer.Exit(1 if found.findings else 0)


def _export(
    target: TargetArgument,
    out: Annotated[
        str, typer.Option(metavar="FILE", help="Ends in .parquet, .jsonl or .ndjson; or a URL.")
    ],
) -> None:
    """Copy all replies into a table, with their raw bodies; a run may be under way."""
    from vision_pipeline.wiring.ledgers import export_ledger

    count = export_ledger(_find(target), out)
    print(f"{count} replies: {out}")


def _prune(
    target: TargetArgument,
    before: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Answered before that day or moment, UTC."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN_ID", help="Paid for by that run; may be repeated."),
    ] = None,
    *,
    superseded: Annotated[
        bool,
        typer.Option("--superseded", help="Older replies to a question that was asked again."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete replies that meet all the conditions given, and give their room back.

    A question without a reply is asked, and paid for, again as soon as a run needs it.
    """
    from vision_pipeline.adapters.ledger.pruning import Choice
    from vision_pipeline.cli.ledger_display import print_pruning

    choice = Choice(before=_moment(before), runs=tuple(run or ()), superseded=superseded)
    if choice == Choice():
        raise ConfigError("ledger prune: say which replies: --before, --run or --superseded")
    tools = _tools(target)
    found = tools.preview(choice)
    if not as_json:
        print_pruning(found)
    if dry_run or not found.replies:
        if as_json:
            print_json(found.to_dict() | {"deleted": False})
        return
    if not yes:
        _confirm(found.replies)
    _delete(tools, choice, as_json=as_json)


def _confirm(replies: int) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("ledger prune: nobody to ask; --yes deletes them without asking")
    if not typer.confirm(f"delete {replies} replies for good?", err=True):
        raise ConfigError("ledger prune: not confirmed; nothing was deleted")


def _delete(tools: LedgerTools, choice: Choice, *, as_json: bool) -> None:
    from vision_pipeline.cli.ledger_display import size

    before_bytes = tools.size_bytes()
    deleted = tools.prune(choice)
    kept_room = tools.vacuum()
    after_bytes = tools.size_bytes()
    if as_json:
        sizes = {"before_bytes": before_bytes, "after_bytes": after_bytes}
        print_json(deleted.to_dict() | {"deleted": True} | sizes)
        return
    print(f"deleted {deleted.replies} replies: {size(before_bytes)} → {size(after_bytes)}")
    if kept_room:
        print(f"the room was not given back: {kept_room}; the next replies use it")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--before: {text}: no date or moment, such as 2026-11-22 or 2026-11-22T10:15:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _salvage(target: TargetArgument, *, as_json: JsonOption = False) -> None:
    """Read a damaged ledger as far as it can be read, into a new file that takes its place.

    The damaged file is kept beside it under a name that tells; then the same `run` goes on, and
    asks only for what was lost. A sound ledger is left as it is.
    """
    from vision_pipeline.adapters.ledger.salvage import salvage
    from vision_pipeline.adapters.ledger.verification import is_sound

    path = _find(target)
    if not isinstance(path, Path):
        raise ConfigError(
            f"ledger salvage: {path}: is for files; a database is mended, or brought back from a "
            "backup, with its server's own tools"
        )
    now = datetime.now(UTC)
    if is_sound(path, now=now):
        if as_json:
            print_json({"path": str(path), "salvaged": False})
        else:
            print(f"{path}: the file is sound: there is nothing to salvage")
        return
    found = salvage(path, now=now)
    if as_json:
        print_json(found.to_dict() | {"salvaged": True})
        return
    from vision_pipeline.cli.ledger_display import print_salvaged

    print_salvaged(found)
