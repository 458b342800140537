"""Compacting an output folder, held against other commands."""

from __future__ import annotations

from pathlib import Path
from time import time

from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.adapters.parquet.compaction import Compacted, compact_run
from vision_pipeline.adapters.parquet.store import ResultStore
from vision_pipeline.core.errors import OutputError
from vision_pipeline.wiring.holding import holding
from vision_pipeline.wiring.watch import current_watch


async def compact(
    output: str, *, run_id: str | None, target_bytes: int, wait: bool
) -> list[Compacted]:
    """Merge the small result files of finished runs.

    Args:
        output: A local output folder.
        run_id: Only this run; else all that are finished.
        target_bytes: A file is closed once it holds that much.
        wait: Wait until no other command holds the folder, instead of refusing.

    Raises:
        BusyError: Another command holds the folder.
        OutputError: It is behind a URL, holds no such run, or that is not finished.
        StorageError: The disk is full. The table is as it was.
    """
    folder = OutputFolder(output)
    if not folder.is_local:
        raise OutputError(
            f"{output}: a store cannot exchange two folders in one step, so readers would see a "
            "mixture of old and new files; copy the output to a local disk and compact it there"
        )
    results = ResultStore(folder)
    if not results.run_ids():
        raise OutputError(f"{output}: no runs here; give the output.path of a run")
    async with holding(folder, current_watch(), work="compaction", wait=wait) as announce:
        folder.sweep(now_s=time())
        done = []
        for chosen in _chosen(results, output, run_id):
            announce(chosen)
            done.append(compact_run(Path(folder.root), chosen, target_bytes=target_bytes))
    return done


def _chosen(results: ResultStore, output: str, run_id: str | None) -> list[str]:
    known = results.run_ids()
    if run_id is not None and run_id not in known:
        raise OutputError(f"{output}: no run {run_id!r} here; there are: {', '.join(known)}")
    finished = [each for each in known if results.read_run(each).get("finished_at")]
    if run_id is not None and run_id not in finished:
        raise OutputError(
            f"{output}: the run {run_id} is not finished, so its files are its done-marks; "
            "the command that began it finishes it"
        )
    wanted = finished if run_id is None else [run_id]
    return [each for each in wanted if results.finished_shards(each)]
