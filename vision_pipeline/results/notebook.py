"""An output folder in a notebook: it shows itself, and gives its rows in several forms."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from vision_pipeline.core.errors import OutputError
from vision_pipeline.results.contact_sheet import contact_sheet
from vision_pipeline.results.loading import load
from vision_pipeline.results.pictures import (
    THUMBNAIL_COLUMNS,
    THUMBNAIL_SIDE_PX,
    Draw,
    Thumbnail,
    references,
    thumbnails,
)
from vision_pipeline.results.runs import read_runs
from vision_pipeline.results.stream import columns_of
from vision_pipeline.results.table import (
    newest_rows,
    open_folder,
    read_latest,
    read_rows,
    run_names,
    shards_of,
)

SHEET_ITEMS = 12
_ERROR_COLUMNS = ("error_code", "error_detail", "image_uri", "run_id")


class Results:
    """The latest row of each item, or the rows of one run.

    As the last line of a notebook's cell it shows a contact sheet. It keeps no rows: each call
    reads what it needs.

    Args:
        output: The output folder, local or a URL.
        run_id: Only this run.
        draw: Who gives the images, such as `wiring.pictures.open_pictures`; if None, they are read
            from local files, stores and archives, and none is fetched from the web.
    """

    def __init__(self, output: str, *, run_id: str | None = None, draw: Draw | None = None) -> None:
        self.output = output
        self.run_id = run_id
        self._draw = draw
        self._folder = open_folder(output)
        run_names(self._folder, run_id)  # an unknown run is refused at once

    def __len__(self) -> int:
        return int(self._rows(["item_id"]).num_rows)

    def __repr__(self) -> str:
        run = f", run_id={self.run_id!r}" if self.run_id else ""
        return f"Results({self.output!r}{run}): {len(self)} items"

    def _repr_html_(self) -> str:
        ids = self._rows(["item_id", "status"])
        failed = pc.sum(pc.equal(ids["status"], "error")).as_py() or 0
        first = ids["item_id"].slice(0, SHEET_ITEMS).to_pylist()
        fields, _ = columns_of(self._folder, self.run_id)
        names = [*THUMBNAIL_COLUMNS, "status", "error_code", "error_detail", *fields]
        rows = self._rows(names, where={"item_id": first}).to_pylist() if first else []
        return contact_sheet(
            rows,
            fields=list(fields),
            images=[self._thumbnails(row, THUMBNAIL_SIDE_PX) for row in rows],
            items=ids.num_rows,
            failed=failed,
        )

    def load(self, **choice: Any) -> pd.DataFrame:  # noqa: ANN401  (those of `load`)
        """As `results.load`: a DataFrame, with its `columns` and `where`."""
        return load(self.output, runs=self.run_id or "latest", **choice)

    def thumbnail(self, item_id: str, *, max_side_px: int = THUMBNAIL_SIDE_PX) -> Thumbnail:
        """The item's image, or its first one, upright and small; or why it cannot be shown.

        Raises:
            OutputError: There is no such item.
        """
        rows = self._rows(THUMBNAIL_COLUMNS, where={"item_id": item_id}).to_pylist()
        if not rows:
            raise OutputError(f"{self.output}: no item {item_id!r} here")
        return self._thumbnails(rows[0], max_side_px)[0]

    def errors(self) -> pd.DataFrame:
        """The items without an answer, and why."""
        return self.load(columns=_ERROR_COLUMNS, where={"status": "error"})

    def cost(self) -> pd.DataFrame:
        """What each run paid for: one row a run, in USD at list prices."""
        runs = [run for run in read_runs(self.output) if self.run_id in (None, run.run_id)]
        names = ("run_id", "prompt", "model", "calls", "ok", "errors", "cost_usd")
        return pd.DataFrame([{name: getattr(run, name) for name in names} for run in runs])

    @property
    def dataset(self) -> ds.Dataset:
        """The rows as a dataset of Arrow, for what is larger than memory.

        Raises:
            OutputError: A column has another type in each run; name one run then.
        """
        newest = newest_rows(self._folder) if self.run_id is None else {}
        names = list(newest) or run_names(self._folder, self.run_id)
        runs = [shards_of(self._folder, name) for name in names]
        if not runs:
            raise OutputError(f"{self.output}: no finished shard yet; run it again to go on")
        try:
            schema = pa.unify_schemas([run.schema for run in runs], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise OutputError(
                f"{self.output}: the runs do not fit together: {error}; name one run"
            ) from error
        paths = [path for run in runs for path in run.paths]
        every = ds.dataset(paths, format="parquet", filesystem=runs[0].filesystem, schema=schema)
        for run, name in zip(runs, names, strict=True):
            if name in newest and len(newest[name].older):
                is_older = ds.field("item_id").isin(newest[name].older.combine_chunks())
                every = every.filter(~((ds.field("run_id") == run.run_id) & is_older))
        return every

    def to_duckdb(self) -> Any:  # noqa: ANN401  (optional, and without types here)
        """A connection of DuckDB in which the view `results` has the rows.

        Raises:
            OutputError: DuckDB is not installed.
        """
        try:
            duckdb = importlib.import_module("duckdb")
        except ImportError as error:
            raise OutputError(
                "DuckDB is not installed; pip install -c constraints.txt '.[notebook]' brings it"
            ) from error
        connection = duckdb.connect()
        connection.register("results", self.dataset)
        return connection

    def _rows(self, columns: Any, *, where: Mapping[str, Any] | None = None) -> pa.Table:  # noqa: ANN401
        if self.run_id is None:
            return read_latest(self._folder, columns=columns, where=where)
        return read_rows(self._folder, columns=columns, run_id=self.run_id, where=where)

    def _thumbnails(self, row: Mapping[str, Any], max_side_px: int) -> list[Thumbnail]:
        return thumbnails(references(row), draw=self._draw, max_side_px=max_side_px)


def open_results(output: str, *, run_id: str | None = None, draw: Draw | None = None) -> Results:
    """An output folder to look at in a notebook; the arguments are those of `Results`.

    Raises:
        OutputError: There is no table, or no such run.
    """
    return Results(output, run_id=run_id, draw=draw)
