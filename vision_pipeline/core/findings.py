"""What `doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is, in a word or two.
        ok: Whether a run can rely on it.
        detail: What was found, and what to do where it is not.
    """

    name: str
    ok: bool
    detail: str
