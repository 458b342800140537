"""Two folders that change places in one step, so that nobody ever finds half of either."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

_CURRENT_FOLDER = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


def exchange(one: Path, other: Path) -> None:
    """Let two folders of one file system change their names.

    Raises:
        OSError: The operating system or the file system cannot do that; nothing has changed.
    """
    call = _system_call()
    if call is None:
        raise OSError(f"{sys.platform} cannot exchange two folders")
    if call(os.fsencode(one), os.fsencode(other)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))


def can_exchange(folder: Path) -> bool:
    """Whether folders in this one can change places; tries it on two empty ones."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        one, other = Path(scratch, "one"), Path(scratch, "other")
        one.mkdir()
        other.mkdir()
        try:
            exchange(one, other)
        except OSError:
            return False
    return True


@cache
def _system_call() -> Callable[[bytes, bytes], int] | None:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":  # pragma: no cover
            swap = library.renamex_np
            return lambda one, other: int(swap(one, other, ctypes.c_uint(_EXCHANGE)))
        rename = library.renameat2
    except (AttributeError, OSError, TypeError):  # pragma: no cover  (Windows, an old C library)
        return None
    at = _CURRENT_FOLDER
    return lambda one, other: int(rename(at, one, at, other, ctypes.c_uint(_EXCHANGE)))
