"""Which Prefect server is set, and whether it answers; Prefect itself takes a second to import."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import httpx

from vision_pipeline.core.errors import EndpointError

TIMEOUT_S = 5.0


def server_url(environment: Mapping[str, str]) -> str | None:
    """The server's API by environment or by Prefect's active profile; None where none is set."""
    if "PREFECT_API_URL" in environment:
        return environment["PREFECT_API_URL"].strip() or None
    home = Path(environment.get("PREFECT_HOME", "~/.prefect")).expanduser()
    try:
        profiles = tomllib.loads((home / "profiles.toml").read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    active = environment.get("PREFECT_PROFILE") or profiles.get("active")
    profile = profiles.get("profiles", {}).get(active, {})
    return (profile.get("PREFECT_API_URL") or None) if isinstance(profile, dict) else None


def check_server(url: str) -> None:
    """Ask a server whether it is well.

    Raises:
        EndpointError: It does not answer.
    """
    try:
        response = httpx.get(f"{url.rstrip('/')}/health", timeout=TIMEOUT_S)
        response.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EndpointError(
            f"PREFECT_API_URL={url} does not answer: {error}; `prefect server start` starts one"
        ) from error
