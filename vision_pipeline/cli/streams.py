"""stdout and stderr whose reader may go away: nobody wants the rest, and nothing else changes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
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
    """While the block runs, `print` and its like outlast readers who go.

    Raises:
        StorageError: From within the block, by whoever writes: stdout takes no more.
    """
    out, err = sys.stdout, sys.stderr
    if out is not None:  # closed by who started this process
        sys.stdout = cast("TextIO", _Stream(out, is_result=True))
    if err is not None:
        sys.stderr = cast("TextIO", _Stream(err, is_result=False))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
