"""Which rows of an output folder are judged, and the types of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vision_pipeline.core.errors import ConfigError, OutputError
from vision_pipeline.core.records import RESERVED_COLUMNS
from vision_pipeline.results.table import Folder, open_folder, read_latest, read_rows

LATEST_ROWS = "latest row of each item"
ROW_COLUMNS = (
    "item_id",
    "image_uri",
    "image_sha256",
    "status",
    "error_code",
    "cost_usd",
    "prompt_tokens",
    "from_ledger",
    "latency_s",
    "prompt",
    "prompt_version",
    "model",
    "run_id",
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an output folder, each item once.

    Attributes:
        output: The folder.
        label: Which rows they are: a run's id, or `LATEST_ROWS`.
        types: Of the answer's columns, dictionaries as such.
        table: `ROW_COLUMNS` and the answer's columns.
    """

    output: str
    label: str
    types: dict[str, pa.DataType]
    table: pa.Table


def read_chosen(output: str, run: str | None = None) -> Rows:
    """The latest row of each item, or the rows of a run.

    Args:
        output: The folder.
        run: An id, its beginning or end, `latest` or `previous`; None takes the latest rows.

    Raises:
        OutputError: It is no output folder, or cannot be read.
        ConfigError: No such run, or several.
    """
    folder = open_folder(output)
    if run is not None:
        run_id = chosen_run(output, runs_with_rows(folder), run)
        types = answer_types(folder, [run_id])
        table = read_rows(folder, columns=[*ROW_COLUMNS, *types], run_id=run_id)
        return Rows(output, run_id, types, table)
    newest = read_latest(folder, columns=["item_id", "run_id"])["run_id"].unique().to_pylist()
    types = answer_types(folder, sorted(newest))
    table = read_latest(folder, columns=[*ROW_COLUMNS, *types])
    return Rows(output, LATEST_ROWS, types, table)


def costs_of(table: pa.Table) -> list[float] | None:
    """What each row cost; nothing where it has no reply. None where a reply has no price."""
    is_failed = pc.not_equal(table["status"], "ok")
    is_free = pc.and_(is_failed, pc.is_null(table["prompt_tokens"]))
    is_free = pc.and_(is_free, pc.is_null(table["cost_usd"]))
    costs = pc.if_else(is_free, 0.0, table["cost_usd"])
    return None if costs.null_count else costs.to_pylist()


def run_ids(output: str) -> list[str]:
    """Ids of the runs of an output folder that have rows, oldest first.

    Raises:
        OutputError: It is no output folder, or cannot be read.
    """
    return runs_with_rows(open_folder(output))


def runs_with_rows(folder: Folder) -> list[str]:
    """Ids of the runs that have rows, oldest first."""
    names = [name for name in folder.names("results") if name.startswith("run_id=")]
    return [name.removeprefix("run_id=") for name in names if folder.names(f"results/{name}")]


def chosen_run(output: str, runs: Sequence[str], wanted: str) -> str:
    """The run that somebody means by `latest`, `previous`, or an id or its beginning or end.

    Raises:
        ConfigError: There is none, or several.
    """
    known = f"{output} has: {', '.join(runs) or 'no run with rows'}"
    place = {"latest": -1, "previous": -2}.get(wanted)
    if place is not None:
        if len(runs) < -place:
            raise ConfigError(f"no {wanted} run; {known}")
        return runs[place]
    if wanted in runs:
        return wanted
    found = [each for each in runs if wanted and (each.startswith(wanted) or each.endswith(wanted))]
    if len(found) != 1:
        told = "may be any of several runs" if found else "is no run"
        raise ConfigError(f"{wanted!r} {told}; {known}; also: latest, previous")
    return found[0]


def answer_types(folder: Folder, runs: Sequence[str]) -> dict[str, pa.DataType]:
    """The answer's columns with their types, those of the newest run first.

    Raises:
        OutputError: A file cannot be read.
    """
    types: dict[str, pa.DataType] = {}
    for run_id in reversed(runs):
        shards = f"results/run_id={run_id}"
        schema = _schema(folder, f"{shards}/{folder.names(shards)[0]}")
        beside = {*RESERVED_COLUMNS, *_manifest_columns(folder, run_id)}
        for name, kind in zip(schema.names, schema.types, strict=True):
            if name not in beside:
                types.setdefault(name, kind)
    return types


def _manifest_columns(folder: Folder, run_id: str) -> list[str]:
    name = f"{run_id}.parquet"
    if name not in folder.names("manifests"):
        return []
    return list(_schema(folder, f"manifests/{name}").names)


def _schema(folder: Folder, name: str) -> pa.Schema:
    try:
        with folder.filesystem.open(folder.path(name), "rb") as file:
            return pq.read_schema(file)
    except Exception as error:  # Arrow's, and each backend's own
        raise OutputError(f"{folder.path(name)}: cannot be read: {error}") from error
