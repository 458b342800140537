"""RESULTS.md: sections that are measured one by one, each with its own date."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from inspect import cleandoc
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"

_HEAD = "# Benchmarks\n\n`make bench`; one section: `python -m tests.benchmarks [ROUNDS] NAME`"
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(title: str, rounds: int, *parts: str) -> str:
    """A section of RESULTS.md: when and where it was measured, what it is, its tables."""
    stamp = f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
    stamp += f"{os.cpu_count()} shared cores, medians of {rounds}"
    return "\n\n".join([f"## {title}", f"*{stamp}*", *map(cleandoc, parts)])


def updated(text: str, measured: list[str]) -> str:
    """RESULTS.md with these sections in the place of those of the same title, or at its end."""
    starts = [match.start() for match in _SECTION.finditer(text)]
    kept = [text[start:end].strip() for start, end in zip(starts, [*starts[1:], len(text)])]
    sections = {_title(each): each for each in kept} | {_title(each): each for each in measured}
    return "\n\n".join([_HEAD, *sections.values()]) + "\n"


def _title(text: str) -> str:
    found = _SECTION.match(text)
    assert found, text
    return found[1]
