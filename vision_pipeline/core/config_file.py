"""A configuration as text: YAML in, a checked configuration or an exact message out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.config_faults import explain, short
from vision_pipeline.core.databases import without_passwords
from vision_pipeline.core.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML in which no key of a mapping stands twice: the first would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  (PyYAML's signature)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                problem = f"the key {name!r} is there twice, before in line {seen[name]}; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if name is not None:
                seen[name] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _load(text: str) -> Any:  # noqa: ANN401  (any YAML)
    return yaml.load(text, _Loader)  # noqa: S506  (a safe loader)


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
        faults = error.errors()
        lines = [f"{_origin(each['loc'], file, overrides)}: {explain(each)}" for each in faults]
        raise ConfigError("\n".join(lines)) from None


def parse_mapping(text: str, *, file: str) -> dict[str, Any]:
    """Read a YAML document that must be a mapping.

    Raises:
        ConfigError: No YAML, or no mapping; names file, line and column.
    """
    try:
        document = _load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        raise ConfigError(f"{where}: not valid YAML: {error.problem}") from None
    # ValueError: an impossible date; RecursionError: brackets within brackets without end.
    except (yaml.YAMLError, KeyError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: expected keys and values, found {short(document)}")
    return document


def _origin(path: tuple[int | str, ...], file: str, overrides: Sequence[str]) -> str:
    """Whose fault it is: the file's, that of an override, or of both together."""
    for override in reversed(overrides):
        key = tuple(override.partition("=")[0].split("."))
        if key == path[: len(key)]:
            return f"--set {_shown(override)}"
        if path and path == key[: len(path)]:
            return f"{file} with --set {_shown(override)}"
    return file


def _shown(override: str) -> str:
    key, _, text = override.partition("=")
    if key.endswith("_env"):  # who sets it wrongly may have given the secret itself
        return key
    return f"{key}={without_passwords(text)}"


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
        section[last] = _load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"--set {override}: {text!r} is not a YAML value") from None
