"""The emulator as a process of its own, for the length of one run."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from vision_pipeline.core.errors import ConfigError, EndpointError

START_TIMEOUT_S = 60.0
USAGE = 2  # the exit code of what a user can mend: an engine that is not installed
STOP_TIMEOUT_S = 5.0


@asynccontextmanager
async def start_emulator(
    *,
    engine: str,
    models: Path,
    start_timeout_s: float = START_TIMEOUT_S,
    stop_timeout_s: float = STOP_TIMEOUT_S,
) -> AsyncIterator[str]:
    """Start an emulator on a free port; gives its base URL, up to and including `/v1`.

    It reads an open pipe from here and ends when that closes, so that a killed run leaves none.

    Raises:
        EndpointError: It did not come up; says why.
    """
    # A file, not a pipe: one that nobody reads would be full one day, and block the emulator.
    with tempfile.TemporaryFile() as complaints:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "vision_pipeline.emulator",
            f"--engine={engine}",
            f"--models={models}",
            "--port=0",
            "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints,
            # Ctrl-C goes to the whole group of a terminal: the run itself says when this one ends.
            start_new_session=True,
        )
        try:
            address = await _address(process, start_timeout_s)
            if not address:
                complaints.seek(0)
                cause = _plain(complaints.read().decode("utf-8", "replace"))
                message = f"the emulator did not start: {cause}"
                raise (ConfigError if await process.wait() == USAGE else EndpointError)(message)
            yield f"{address}/v1"
        finally:
            await _stop(process, stop_timeout_s)


async def _address(process: asyncio.subprocess.Process, timeout_s: float) -> str:
    stdout = cast("asyncio.StreamReader", process.stdout)
    try:
        line = await asyncio.wait_for(stdout.readline(), timeout_s)
    except TimeoutError:
        raise EndpointError(f"the emulator did not start within {timeout_s:g} s") from None
    return line.decode().strip()


def _plain(complaint: str) -> str:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    return lines[-1] if lines[0].startswith("Traceback") else " ".join(lines)


async def _stop(process: asyncio.subprocess.Process, timeout_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        process.kill()
        await process.wait()
