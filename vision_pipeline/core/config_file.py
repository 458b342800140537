"""A configuration as text: YAML in, a checked configuration or an exact message out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError

from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError

MAX_SHOWN = 80  # characters of a value in a message


def parse_config(text: str, *, file: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration.

    Args:
        text: YAML.
        file: Its name, for messages.
        overrides: `a.b=value` pairs, values in YAML, applied in order.

    Raises:
        ConfigError: Names file, key, value and what is allowed; all faults at once.
    """
    document = parse_mapping(text, file=file)
    for override in overrides:
        _apply(document, override)
    try:
        return RunConfig.model_validate(document)
    except ValidationError as error:
        lines = [_explain(fault) for fault in error.errors()]
        raise ConfigError("\n".join(f"{file}: {line}" for line in lines)) from None


def parse_mapping(text: str, *, file: str) -> dict[str, Any]:
    """Read a YAML document that must be a mapping.

    Raises:
        ConfigError: No YAML, or no mapping; names file, line and column.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        raise ConfigError(f"{where}: not valid YAML: {error.problem}") from None
    # ValueError: an impossible date; RecursionError: brackets within brackets without end.
    except (yaml.YAMLError, KeyError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: expected keys and values, found {_short(document)}")
    return document


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {override}: expected KEY=VALUE, such as image.quality=85")
    *path, last = key.split(".")
    section = document
    for part in path:
        child = section.get(part)
        if child is None:  # not there, or a heading with nothing under it
            child = section[part] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override}: `{part}` is a value, not a section")
        section = child
    try:
        section[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"--set {override}: {text!r} is not a YAML value") from None


def _explain(fault: Mapping[str, Any]) -> str:
    path = fault["loc"]
    key = ".".join(map(str, path))
    match fault["type"]:
        case "extra_forbidden":
            allowed = _keys_at(path[:-1])
            return f"{key}: unknown key{nearest(str(path[-1]), allowed)}; known: {_list(allowed)}"
        case "missing":
            return f"{key}: required, but not set"
        case "value_error":
            return f"{key}: {str(fault['msg']).removeprefix('Value error, ')}"
        case "model_type":
            return f"{key}: {_short(fault['input'])} is not allowed; allowed: keys and values"
        case _:
            pass
    message = str(fault["msg"]).removeprefix("Input should be ")
    return f"{key}: {_short(fault['input'])} is not allowed; allowed: {message}"


def _keys_at(path: Sequence[int | str]) -> list[str]:
    section: type[BaseModel] = RunConfig
    for part in path:
        # Only sections have unknown keys, and sections stand in nothing but sections.
        section = cast("type[BaseModel]", section.model_fields[str(part)].annotation)
    return list(section.model_fields)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a message: `; did you mean …?`, or nothing where no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
