"""Holding an output folder for as long as a command writes into it."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from vision_pipeline.adapters.lock import HeartbeatLock, NoLocksError, ProcessLock
from vision_pipeline.adapters.lock.heartbeat import SILENT_S
from vision_pipeline.adapters.output import OutputFolder
from vision_pipeline.core.errors import BusyError
from vision_pipeline.core.owner import Owner
from vision_pipeline.wiring.watch import Watch

LOOK_S = 0.5  # between two looks whether the folder is free

Announce = Callable[[str], None]


@asynccontextmanager
async def holding(
    folder: OutputFolder, watch: Watch, *, work: str, wait: bool
) -> AsyncIterator[Announce]:
    """Hold a folder against other commands; readers are not kept out.

    Args:
        folder: It must exist.
        watch: Told whom a command waits for; its `stop` ends the waiting, and is raised where the
            folder is lost to another command in the middle of the work.
        work: What it is held for, such as `run of receipts`.
        wait: Wait until it is free instead of refusing.

    Yields:
        A function that says to others which run is worked on.

    Raises:
        BusyError: Another command holds it; says who, and what to do.
    """
    owner = Owner(
        host=socket.gethostname(),
        pid=os.getpid(),
        work=work,
        since=datetime.now(UTC),
        mark=secrets.token_hex(8),
    )
    lock, owner = await _taken(folder, watch, owner, wait=wait)
    watch.progress.waits_for = ""
    try:
        if isinstance(lock, HeartbeatLock):
            lock.keep(_loser(folder, watch))
        yield lambda run_id: lock.tell(replace(owner, run_id=run_id))
    finally:
        lock.release()


async def _taken(
    folder: OutputFolder, watch: Watch, owner: Owner, *, wait: bool
) -> tuple[ProcessLock | HeartbeatLock, Owner]:
    """The lock that was taken, and its owner from that moment on."""
    lock = ProcessLock(Path(folder.root)) if folder.is_local else HeartbeatLock(folder)
    while True:
        owner = replace(owner, since=datetime.now(UTC))
        try:
            holder = await asyncio.to_thread(lock.try_take, owner)
        except NoLocksError:
            lock = HeartbeatLock(folder)
            continue
        if holder is None:
            return lock, owner
        if not wait:
            raise BusyError(_refusal(folder, holder))
        watch.progress.waits_for = holder.told(datetime.now(UTC))
        with suppress(TimeoutError):
            await asyncio.wait_for(watch.stop.requested.wait(), LOOK_S)
        if watch.stop.cause is not None:
            raise watch.stop.cause


def _loser(folder: OutputFolder, watch: Watch) -> Callable[[Owner], None]:
    loop = asyncio.get_running_loop()

    def lost(taker: Owner) -> None:
        told = taker.told(datetime.now(UTC))
        cause = BusyError(f"{folder.shown()}: taken over while this machine paused, by {told}")
        with suppress(RuntimeError):  # the loop has ended: nothing is left to stop
            loop.call_soon_threadsafe(watch.stop.request, cause)

    return lost


def _refusal(folder: OutputFolder, holder: Owner) -> str:
    end = f"`kill -INT {holder.pid}` on {holder.host}" if holder.pid else "a signal"
    silence = f"; after {SILENT_S:.0f} s of silence it is taken over" if holder.beat_at else ""
    return (
        f"{folder.shown()}: held by {holder.told(datetime.now(UTC))}{silence}; wait for it with "
        f"--wait, end it with {end} (it can be resumed), or choose another folder with --output"
    )
