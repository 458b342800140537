"""stdout and stderr whose reader may go away: nobody wants the rest, and nothing else changes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from vision_pipeline.core.errors import StorageError


class _Stream:
    """A text stream that goes silent once it cannot be written to.

    Args:
        stream: Where the text goes.
        is_result: Whether the text is what the command is for: then a failure other than a reader
            who has seen enough, such as a full disk, is an error.
    """

    def __init__(self, stream: TextIO, *, is_result: bool) -> None:
        self._stream = stream
        self._is_result = is_result

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever else a stream has)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._going_silent():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        with self._going_silent():
            self._stream.flush()

    @contextlib.contextmanager
    def _going_silent(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._lead_nowhere()
            if self._is_result and not isinstance(error, BrokenPipeError):
                raise StorageError(
                    f"stdout: {error.strerror or error}; what the command did is kept, "
                    "only its output is cut off"
                ) from error

    def _lead_nowhere(self) -> None:
        # What is still in the buffer would fail again when the interpreter ends.
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def forgiving_streams() -> Iterator[None]:
    """While the block runs, `print` and its like outlast readers who go, or were never there.

    Raises:
        StorageError: From within the block, by whoever writes: stdout takes no more.
    """
    before = sys.stdin, sys.stdout, sys.stderr
    # In this order, so that a descriptor that was closed goes to nobody else.
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout = cast("TextIO", _Stream(sys.stdout or _nowhere("w"), is_result=True))
    sys.stderr = cast("TextIO", _Stream(sys.stderr or _nowhere("w"), is_result=False))
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def _nowhere(mode: str) -> TextIO:
    """In place of a stream that who started this process has closed."""
    return cast("TextIO", Path(os.devnull).open(mode, encoding="utf-8"))
