"""The result table as a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from vision_pipeline.results.table import open_folder, read_latest, read_rows
from vision_pipeline.results.where import Where


def load(
    output: str,
    *,
    runs: str = "latest",
    columns: Sequence[str] | None = None,
    where: Where | None = None,
) -> pd.DataFrame:
    """The result table as a pandas DataFrame with Arrow types.

    Args:
        output: The output folder of a run, local or a URL.
        runs: `latest` for the newest row of each item, `all` for every row of every run, or the
            id of one run.
        columns: Only these, besides `item_id`; all if None.
        where: Only rows like this: `{"status": "error"}`, `[("total", ">", 100)]` or an
            expression of `pyarrow.dataset`. With `latest`, what counts is each item's newest row.

    Raises:
        OutputError: There is no table, no such run or column, or the condition does not fit.
    """
    folder = open_folder(output)
    wanted = None if columns is None else list(dict.fromkeys(["item_id", *columns]))
    if runs == "latest":
        table = read_latest(folder, columns=wanted, where=where)
    else:
        run_id = None if runs == "all" else runs
        table = read_rows(folder, columns=wanted, run_id=run_id, where=where)
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=pd.ArrowDtype, split_blocks=True, self_destruct=True
    )
    return frame
