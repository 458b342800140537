"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.config_file import parse_config
from vision_pipeline.core.errors import ConfigError

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A recipe, such as configs/demo.yaml.")
]
OutputArgument = Annotated[str, typer.Argument(metavar="OUTPUT", help="An output folder.")]
SourceOption = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Another folder, image or manifest than the recipe's."),
]
OutputOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="Another output folder than the recipe's.")
]
LimitOption = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Take only the first N items.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of the recipe; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="Wait for another command that holds the output."),
]

MANIFEST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def load_config(
    path: Path,
    *,
    source: str | None = None,
    output: str | None = None,
    limit: int | None = None,
    settings: list[str] | None = None,
) -> RunConfig:
    """Read a recipe, with the command line's wishes over it.

    Raises:
        ConfigError: The file cannot be read, or a key or value is wrong.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{path}: cannot be read: {cause}; `vision-pipeline init DIR` writes a starter"
        ) from None
    return parse(text, file=str(path), source=source, output=output, limit=limit, settings=settings)


def parse(
    text: str,
    *,
    file: str,
    source: str | None = None,
    output: str | None = None,
    limit: int | None = None,
    settings: list[str] | None = None,
) -> RunConfig:
    """A recipe out of its text, with the command line's wishes over it.

    Raises:
        ConfigError: A key or value is wrong.
    """
    overrides = list(settings or [])
    if source is not None:
        is_manifest = source.lower().endswith(MANIFEST_SUFFIXES)
        given, other = ("manifest", "path") if is_manifest else ("path", "manifest")
        overrides += [f"source.{given}={quoted(source)}", f"source.{other}=null"]
    if output is not None:
        overrides.append(f"output.path={quoted(output)}")
    if limit is not None:
        overrides.append(f"source.limit={limit}")
    return parse_config(text, file=file, overrides=overrides)


def quoted(text: str) -> str:
    """A string as YAML, so that `1.0` or `a: b` stays one."""
    return "'" + text.replace("'", "''") + "'"


def print_json(document: Any) -> None:  # noqa: ANN401  (any JSON)
    """Write a document to stdout."""
    import orjson

    print(orjson.dumps(document, option=orjson.OPT_INDENT_2, default=str).decode())
