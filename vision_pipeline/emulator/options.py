"""From options, as both command lines give them, to settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.emulator.draws import parse_fault
from vision_pipeline.emulator.script import parse_script
from vision_pipeline.emulator.settings import EmulatorSettings


def read_settings(*, fault: Sequence[str], script: Path | None, **plain: Any) -> EmulatorSettings:  # noqa: ANN401
    """The settings that options ask for.

    Args:
        fault: `KIND=RATE` each.
        script: A YAML file with a list of steps.
        plain: Other settings by name, as they are.

    Raises:
        ValueError: An option has a value that is not allowed.
        ConfigError: The script cannot be used; names the file, the step and the key.
    """
    steps = (
        ()
        if script is None
        else parse_script(read_yaml(script, option="--script"), file=str(script))
    )
    return EmulatorSettings(faults=dict(parse_fault(text) for text in fault), script=steps, **plain)


def read_yaml(path: Path, *, option: str) -> object:
    """A parsed YAML file.

    Raises:
        ConfigError: It cannot be read or parsed; names it and the option that gave it.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{option} {path}: {error}") from error
