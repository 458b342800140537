"""Options of the form NAME=VALUE that may be repeated."""

from __future__ import annotations

from collections.abc import Iterable

from vision_pipeline.core.errors import ConfigError


def pairs(option: str, given: Iterable[str] | None) -> dict[str, str]:
    """Values by name.

    Raises:
        ConfigError: One is not of that form, or a name comes twice.
    """
    found: dict[str, str] = {}
    for each in given or ():
        name, _, value = each.partition("=")
        if not (name and value):
            raise ConfigError(f"{option}: {each!r} is not NAME=VALUE")
        if name in found:
            raise ConfigError(f"{option}: {name!r} is given twice")
        found[name] = value
    return found


def shares(option: str, given: Iterable[str] | None) -> dict[str, float]:
    """Shares, from 0 to 1, by name.

    Raises:
        ConfigError: As for `pairs`, or a value is no such share.
    """
    found = {}
    for name, value in pairs(option, given).items():
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = -1.0
        if not 0 <= found[name] <= 1:
            raise ConfigError(f"{option}: {name}={value}: allowed: a share from 0 to 1")
    return found
