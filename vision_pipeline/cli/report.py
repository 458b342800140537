"""The command that makes a page to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vision_pipeline.cli.arguments import OutputArgument
from vision_pipeline.core.errors import ConfigError

EPILOG = """
Examples:

    vision-pipeline report data/outputs/demo --open

    vision-pipeline report s3://tables/receipts --out receipts.html --limit 500
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", epilog=EPILOG)(_report)


def _report(
    output: OutputArgument,
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write; else report.html in OUTPUT."),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="One run: an id, its beginning or end, latest, previous. Default: the latest row "
            "of each item.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, help="Show only the first N items.")
    ] = 10_000,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch images that are on the web; else they are not.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Write numbers, plots, and images beside their answers as one HTML file.

    It loads nothing from elsewhere and can be sent around. More than 2,000 items become a folder
    of pages, with index.html.
    """
    from rich.console import Console
    from rich.progress import Progress

    from vision_pipeline.results.evaluation.rows import chosen_run, run_ids
    from vision_pipeline.results.report import Choice, Sources, write_report
    from vision_pipeline.wiring.pictures import open_pictures

    target = _target(output, out)
    run_id = None if run is None else chosen_run(output, run_ids(output), run)
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("report", total=None)
        report = write_report(
            output,
            target,
            Sources(partial(open_pictures, fetch=fetch), _prompt),
            Choice(run_id=run_id, limit=limit),
            progress=lambda done, count: bar.update(task, completed=done, total=count),
        )
    print(report.path)
    if report.shown < report.items:
        left = f"{report.items - report.shown} of {report.items} items are not in it"
        console.print(f"{left}; --limit N takes more", highlight=False)
    if show:
        typer.launch(str(report.path.absolute()))


def _target(output: str, out: Path | None) -> Path:
    if out is None:
        return Path("report.html") if "://" in output else Path(output) / "report.html"
    if "://" in str(out) or str(out).startswith(("s3:/", "gs:/")):
        raise ConfigError(f"--out: {out}: a report is written to a local file")
    if out.is_dir():
        return out / "report.html"
    if out.suffix.lower() not in {".html", ".htm"}:
        raise ConfigError(
            f"--out: {out}: name a file that ends in .html, or a folder that is there"
        )
    return out


def _prompt(run: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The prompt of a run, as long as its template is what it was."""
    from vision_pipeline.wiring.library import load_template

    try:
        template = load_template(run["config"]["prompt"])
        is_same = template.sha256 == run["prompt"]["sha256"]
    except (ConfigError, LookupError, TypeError):
        return None
    if not is_same:
        return None
    document = template.schema and dict(template.schema.document)
    return {
        "name": template.name,
        "version": template.version,
        "system": template.system,
        "text": template.text,
        "schema": document and json.dumps(document, indent=2, ensure_ascii=False),
    }
