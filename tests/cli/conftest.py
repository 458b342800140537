"""The command line in this process: arguments in, exit code and output out."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from vision_pipeline.cli.app import main
from vision_pipeline.core.config import RunConfig
from vision_pipeline.wiring.signals import handling_stop_signals


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., Ended]:
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["vision-pipeline", *map(str, arguments)])
        code = 0
        try:
            with handling_stop_signals(signal.SIG_IGN):
                main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return Ended(int(code), out, err)

    return run


@pytest.fixture
def recipe_file(tmp_path: Path, recipe: RunConfig) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_defaults=True)))
    return path
