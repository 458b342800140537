"""Futures of an event loop, settled by the thread that does a ledger's work."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any


def settle(
    done: asyncio.Future[Any], *, result: object = None, error: Exception | None = None
) -> None:
    """Give a future its result, or its error; from any thread, and whether anybody waits or not."""

    def tell() -> None:
        if done.done():  # the waiter was cancelled; the reply is stored all the same
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        done.get_loop().call_soon_threadsafe(tell)
