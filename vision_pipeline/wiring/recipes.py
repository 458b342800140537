"""The recipe of an output folder's latest run, as its run file keeps it."""

from __future__ import annotations

import orjson

from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.core.errors import OutputError


def latest_recipe(output: str) -> tuple[str, str]:
    """The run file of the latest run, and the recipe in it, which is JSON and so YAML too.

    Raises:
        OutputError: There is no run, or its file is damaged.
    """
    results = ResultStore(OutputFolder(output))
    run_ids = results.run_ids()
    if not run_ids:
        raise OutputError(f"{output}: no runs here; give the output.path of a run, or a recipe")
    recipe = results.read_run(run_ids[-1]).get("config")
    return f"{output}/runs/{run_ids[-1]}.json", orjson.dumps(recipe).decode()
