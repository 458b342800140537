"""The commands around a run: `init`, `prompts` and `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_pipeline.cli.arguments import (
    ConfigArgument,
    JsonOption,
    OutputOption,
    SetOption,
    SourceOption,
    load_config,
    print_json,
)
from vision_pipeline.core.errors import ConfigError, OutputError
from vision_pipeline.core.plain_text import plain

INIT_EPILOG = """
Example:

    vision-pipeline init my-project
"""
PROMPTS_EPILOG = """
Examples:

    vision-pipeline prompts

    vision-pipeline prompts receipt_fields > configs/prompts/my_receipts.md
"""
DOCTOR_EPILOG = """
Example:

    vision-pipeline doctor configs/receipts.yaml
"""

STARTER = """\
# A recipe for vision-pipeline. Every key: README, "The recipe". Try it:
#   vision-pipeline plan {file}
#   vision-pipeline run {file} --limit 10
name: images

source:
  path: images                # a folder, searched through to the bottom
  # include: ["*.jpg"]        # patterns as in .gitignore; all images if left out
  # manifest: items.csv       # instead of path: CSV, JSON Lines or Parquet
  # image_column: image       # its column with paths, https URLs or data: URLs

prompt: my_describe           # configs/prompts/my_describe.md; `vision-pipeline prompts` lists more

model:
  provider: mistral           # the key comes from MISTRAL_API_KEY
  name: mistral-small-2603
  temperature: 0
  max_tokens: 1000
  # Any server that speaks OpenAI's API:
  # provider: openai
  # base_url: http://localhost:8000/v1

image:
  max_side_px: 1540           # what the model looks at; smaller costs fewer tokens
  quality: 90

limits:
  requests_per_minute: auto   # learned from the provider's headers
  tokens_per_minute: auto
  max_in_flight: 64

budget:
  usd: null                   # stop a run before this much is spent
  usd_per_month: null         # the same for all runs of the ledger; also in tokens: `tokens`, …

output:
  path: data/outputs/images
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init", epilog=INIT_EPILOG)(_init)
    app.command("prompts", epilog=PROMPTS_EPILOG)(_prompts)
    app.command("doctor", epilog=DOCTOR_EPILOG)(_doctor)


def _init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or existing folder.")],
) -> None:
    """Write a commented starter recipe and a prompt template of your own to change."""
    from vision_pipeline.wiring.library import prompt_files

    recipe = folder / "configs" / "images.yaml"
    prompt = folder / "configs" / "prompts" / "my_describe.md"
    for path in (recipe, prompt):
        if path.exists():
            raise OutputError(f"{path}: is there already; nothing was written")
    try:
        prompt.parent.mkdir(parents=True, exist_ok=True)
        (folder / "images").mkdir(exist_ok=True)
        recipe.write_text(STARTER.format(file="configs/images.yaml"), "utf-8")
        prompt.write_text(prompt_files()["describe"].read_text("utf-8"), "utf-8")
    except OSError as error:
        raise OutputError(f"{error.filename}: cannot be written: {error.strerror}") from None
    print(f"{recipe}\n{prompt}")
    print(f"next: cd {folder}, put images into images/, vision-pipeline plan configs/images.yaml")


def _prompts(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Print this template.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the prompt templates, or print one to start your own from."""
    from vision_pipeline.wiring.library import load_template, prompt_files

    if name is not None:
        print(Path(load_template(name).file).read_text("utf-8"), end="")
        return
    templates, broken = [], []
    for known in prompt_files():
        try:
            templates.append(load_template(known))
        except ConfigError as error:  # one bad file must not hide the others
            broken.append(str(error))
    if as_json:
        print_json(
            {t.name: {"version": t.version, "description": t.description} for t in templates}
        )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in ("name", "version", "what it gives, and when to use it"):
        table.add_column(head)
    for template in templates:
        table.add_row(template.name, template.version, template.description)
    Console().print(table)
    for message in broken:
        print(f"not usable: {message}")


def _doctor(
    config: ConfigArgument,
    source: SourceOption = None,
    output: OutputOption = None,
    settings: SetOption = None,
) -> None:
    """Check key, endpoint, model, source, output and Prefect: one line each, no paid call."""
    loaded = load_config(config, source=source, output=output, settings=settings)
    from vision_pipeline.cli.checks import run_checks

    failed = 0
    for check in run_checks(loaded):
        print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {plain(check.detail)}")
        failed += not check.ok
    if failed:
        raise typer.Exit(2)
