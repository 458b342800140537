"""Where the ledger of a recipe or of an output folder is, and where its replies are exported to."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from vision_pipeline.adapters.ledger.damage import look
from vision_pipeline.adapters.ledger.export import export_json_lines, export_parquet
from vision_pipeline.adapters.ledger.wal import wal_path
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError, OutputError

LEDGER_NAME = "ledger.sqlite"
_EXPORTS = {
    ".parquet": export_parquet,
    ".jsonl": export_json_lines,
    ".ndjson": export_json_lines,
}


def ledger_path(config: RunConfig, folder: OutputFolder) -> Path:
    """The file that keeps the replies of a recipe; it need not exist.

    Raises:
        ConfigError: The output is behind a URL and the recipe names no local file.
    """
    if config.output.ledger is not None:
        return Path(config.output.ledger)
    if not folder.is_local:
        raise ConfigError(
            f"output.ledger: required where output.path is a URL ({config.output.path}): "
            "a local file that keeps the paid replies"
        )
    return Path(folder.path(LEDGER_NAME))


def ledger_of_recipe(config: RunConfig) -> Path:
    """The ledger that runs of a recipe write to.

    Raises:
        RunError: The recipe's output is no place for one.
    """
    return ledger_path(config, OutputFolder(config.output.path))


def check_ledger(config: RunConfig) -> str:
    """See that runs of a recipe could keep replies; returns where.

    Raises:
        RunError: They could not, or the ledger is damaged.
    """
    path = ledger_of_recipe(config)
    look(path)
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK) or (place != path and not place.is_dir()):
        raise OutputError(f"{path}: cannot be written")
    return str(path)


def ledger_of_output(output: str) -> Path:
    """The ledger behind an output folder: in it, or where its newest run kept its replies.

    Raises:
        OutputError: There is none.
    """
    folder = OutputFolder(output)
    if folder.is_local:
        inside = Path(folder.path(LEDGER_NAME))
        if inside.exists() or wal_path(inside).exists():
            return inside
    for name in reversed(folder.names("runs")):
        try:
            return Path(
                orjson.loads(folder.read_bytes(f"runs/{name}"))["config"]["output"]["ledger"]
            )
        except (OSError, orjson.JSONDecodeError, LookupError, TypeError):
            continue
    raise OutputError(
        f"{output}: no ledger: neither {LEDGER_NAME} in it nor a run that names another file"
    )


def export_ledger(path: Path, out: str) -> int:
    """Write all replies to a file that appears when it is whole; returns how many there are.

    Args:
        path: The ledger.
        out: A file or URL that ends in `.parquet`, `.jsonl` or `.ndjson`.

    Raises:
        ConfigError: It ends otherwise.
        RunError: The ledger cannot be read, or the file cannot be written.
    """
    export = _EXPORTS.get(Path(out).suffix.lower())
    if export is None:
        raise ConfigError(f"--out: {out}: must end in {', '.join(_EXPORTS)}")
    folder, name = out.rsplit("/", 1) if "://" in out else os.path.split(out)
    with OutputFolder(folder or ".").create(name) as file:
        return export(path, file)
