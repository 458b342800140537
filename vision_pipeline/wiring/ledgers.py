"""Where the ledger of a recipe or of an output folder is, and who opens it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import orjson
import platformdirs

from vision_pipeline.adapters.ledger.damage import look
from vision_pipeline.adapters.ledger.export import write_json_lines, write_parquet
from vision_pipeline.adapters.ledger.tools import FileTools, LedgerTools
from vision_pipeline.adapters.ledger.wal import wal_path
from vision_pipeline.adapters.ledger.writer import SqliteLedger
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.databases import Database, check_ledger, is_database
from vision_pipeline.core.errors import ConfigError, OutputError
from vision_pipeline.pipeline.services import Ledger

LEDGER_NAME = "ledger.sqlite"
_EXPORTS = {
    ".parquet": write_parquet,
    ".jsonl": write_json_lines,
    ".ndjson": write_json_lines,
}

LedgerPlace = Path | Database


class OpenLedger(Ledger, Protocol):
    """A ledger that is closed after a run."""

    def close(self) -> None:
        """Finish what waits."""


def ledger_place(config: RunConfig, folder: OutputFolder) -> LedgerPlace:
    """The file or database that keeps the replies of a recipe; it need not exist.

    Raises:
        ConfigError: The output is behind a URL and the recipe names neither, or the variable with
            the database's password is not set.
    """
    named = config.output.ledger
    if named is not None and is_database(named):
        return _database(named, config.output.ledger_password_env)
    if named is not None:
        return Path(named)
    if not folder.is_local:
        raise ConfigError(
            f"output.ledger: required where output.path is a URL ({config.output.path}): "
            "a local file that keeps the paid replies, or postgresql://user@host/database"
        )
    return Path(folder.path(LEDGER_NAME))


def named_place(text: str) -> LedgerPlace:
    """The ledger that somebody names by its file or its database's URL.

    Raises:
        ConfigError: The URL has a password in it, or is no database's.
    """
    try:
        check_ledger(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return Database(text) if is_database(text) else Path(text)


def _database(url: str, variable: str | None) -> Database:
    password = os.environ.get(variable) if variable else None
    if variable and not password:
        raise ConfigError(
            f"output.ledger_password_env: {variable} is not set; it holds the password for {url}"
        )
    return Database(url, password)


def open_ledger(config: RunConfig, folder: OutputFolder) -> OpenLedger:
    """The ledger of a recipe, for a run.

    Raises:
        RunError: It cannot be used; says why.
    """
    place = ledger_place(config, folder)
    if isinstance(place, Path):
        _check_not_emptied(place, folder)
        return SqliteLedger(place, in_flight=config.limits.max_in_flight)
    try:
        from vision_pipeline.adapters.ledger.postgres.writer import PostgresLedger  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(_missing(error)) from error
    refuge = platformdirs.user_state_path("vision-pipeline") / "ledger"
    return PostgresLedger(place, refuge=refuge, patience_s=config.retry.max_elapsed_s)


def _check_not_emptied(place: Path, folder: OutputFolder) -> None:
    """See that a file was not emptied; SQLite would take it for a new one.

    Raises:
        OutputError: It is empty, and runs have kept replies in it.
    """
    if place.exists() and not place.stat().st_size and folder.names("runs"):
        look(place)  # whose log may have what it lost
        raise OutputError(
            f"{place}: the ledger is empty, although runs are here that had one; put it back from "
            "a copy, or delete it to go on without the replies that it held"
        )


def ledger_tools(place: LedgerPlace) -> LedgerTools:
    """What looks into a ledger.

    Raises:
        ConfigError: It is in a database, and the extra for that is not installed.
    """
    if isinstance(place, Path):
        return FileTools(place)
    try:
        from vision_pipeline.adapters.ledger.postgres.tools import DatabaseTools  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(_missing(error)) from error
    return DatabaseTools(place)


def _missing(error: ImportError) -> str:
    return (
        f"output.ledger: a database needs: pip install -c constraints.txt '.[postgres]' ({error})"
    )


def probe_ledger(config: RunConfig) -> str:
    """Where the ledger is and what it holds, for a person; makes nothing.

    Raises:
        RunError: It cannot be used.
    """
    place = ledger_place(config, OutputFolder(config.output.path))
    return f"{place}: {ledger_tools(place).probe()}"


def ledger_of_recipe(config: RunConfig) -> LedgerPlace:
    """The ledger that runs of a recipe write to.

    Raises:
        RunError: The recipe's output is no place for one.
    """
    return ledger_place(config, OutputFolder(config.output.path))


def ledger_of_output(output: str) -> LedgerPlace:
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
            recipe = orjson.loads(folder.read_bytes(f"runs/{name}"))["config"]["output"]
            ledger, variable = recipe["ledger"], recipe.get("ledger_password_env")
        except (OutputError, OSError, orjson.JSONDecodeError, LookupError, TypeError):
            continue
        if isinstance(ledger, str):
            return _database(ledger, variable) if is_database(ledger) else Path(ledger)
    raise OutputError(
        f"{output}: no ledger: neither {LEDGER_NAME} in it nor a run that names another one"
    )


def export_ledger(place: LedgerPlace, out: str) -> int:
    """Write all replies to a file that appears when it is whole; returns how many there are.

    Args:
        place: The ledger.
        out: A file or URL that ends in `.parquet`, `.jsonl` or `.ndjson`.

    Raises:
        ConfigError: It ends otherwise.
        RunError: The ledger cannot be read, or the file cannot be written.
    """
    write = _EXPORTS.get(Path(out).suffix.lower())
    if write is None:
        raise ConfigError(f"--out: {out}: must end in {', '.join(_EXPORTS)}")
    folder, name = out.rsplit("/", 1) if "://" in out else os.path.split(out)
    tools = ledger_tools(place)
    with OutputFolder(folder or ".").create(name) as file, tools.replies() as rows:
        return write(rows, file)
