"""The command as a process, forked from one that has imported what takes seconds to import.

A signal before the command has set its handlers meets Python's own, which may lose it; this module
imports next to nothing, so that such a moment is short.
"""

import multiprocessing
import os
import sys

from vision_pipeline.cli.app import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "tests.commands",
        "vision_pipeline.cli.app",
        "vision_pipeline.cli.engines",
        "vision_pipeline.cli.display",
        "vision_pipeline.wiring.images",
        "vision_pipeline.adapters.ledger.postgres.writer",
        "s3fs",
    ]
)


def run_command(recipe: str) -> None:
    """What a process does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    sys.argv = ["vision-pipeline", "run", recipe, "--engine", "local"]
    main()


def run_elsewhere(variables: dict[str, str], recipe: str) -> None:
    """The same with other variables in the environment."""
    os.environ |= variables
    run_command(recipe)
