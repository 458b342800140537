"""The recipe of a run against a server on this machine, and the command that carries it out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
PROMPT = "---\nversion: 1\ndescription: d\nschema: null\n---\nWhat is in this image?"
UNLIMITED_TOKENS = 10**9
# As for a server of one's own: the careful start of "auto" is no work.
NO_QUOTA = {"requests_per_minute": 10**6, "tokens_per_minute": UNLIMITED_TOKENS}


def recipe(scratch: Path, base_url: str, **sections: dict[str, Any]) -> dict[str, Any]:
    """A recipe whose prompt and output are in a folder of its own.

    Args:
        scratch: That folder.
        base_url: Of the server, without version.
        sections: At least `source`; to what `output` says the path is added.
    """
    prompt = scratch / "p.md"
    prompt.write_text(PROMPT)
    return {
        "name": "bench",
        "prompt": str(prompt),
        "model": {"provider": "emulator", "base_url": f"{base_url}/v1"},
        **sections,
        "output": {"path": str(scratch / "out")} | sections.get("output", {}),
    }


def run_command(
    scratch: Path, base_url: str, *, engine: str = "local", **sections: dict[str, Any]
) -> list[str]:
    """The command that carries out such a recipe, which is written for it."""
    path = scratch / "r.yaml"
    path.write_text(json.dumps(recipe(scratch, base_url, **sections)))
    return [str(BIN / "vision-pipeline"), "run", str(path), "--engine", engine, "--json"]
