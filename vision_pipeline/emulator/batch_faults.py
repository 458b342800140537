"""The table of what can go wrong with files and batch jobs, beside that of chat requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from vision_pipeline.emulator.effects import Doom, Effect, Hide, Lose, Refuse, Resend, Spoil
from vision_pipeline.emulator.faults import FAULTS

Target = Literal["chat request", "upload", "job", "poll", "line", "download"]

_BAD_GATEWAY = FAULTS["http_502"]
_LINE = "line_"

# A thing meets at most one kind, of those of its own target.
FAULTS_OF: Mapping[Target, Mapping[str, Effect]] = {
    "chat request": FAULTS,
    "upload": {"upload_502": _BAD_GATEWAY, "upload_lost": Lose()},
    "job": {
        "job_502": _BAD_GATEWAY,
        "job_lost": Lose(),
        "job_hidden": Hide(),
        "job_failed": Doom("fail"),
        "job_stuck": Doom("wait"),
    },
    "poll": {"poll_502": _BAD_GATEWAY},
    # A line has no connection that could be cut, but all else that a chat request can meet.
    "line": {
        f"{_LINE}{kind}": effect
        for kind, effect in FAULTS.items()
        if isinstance(effect, Refuse | Spoil)
    },
    "download": {"output_cut": Resend(0.5), "output_twice": Resend(2)},
}

_NAMED = (kind for kinds in FAULTS_OF.values() for kind in kinds if not kind.startswith(_LINE))
KINDS = f"{', '.join(_NAMED)}; and for a line of a batch {_LINE}KIND, such as {_LINE}http_500"
