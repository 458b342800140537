"""The worker processes of a run, as the system sees them."""

from __future__ import annotations

import psutil


def workers_of(pid: int) -> list[int]:
    """The processes of Dask or Ray below a command that have begun to work on its shards.

    They are known by their decoders.
    """
    return [
        each.pid
        for each in psutil.Process(pid).children(recursive=True)
        if any("preparation.worker" in " ".join(child.cmdline()) for child in each.children())
    ]
