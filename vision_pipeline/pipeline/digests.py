"""A million fingerprints, to look up in: 24 bytes each, and no Python object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_AT_ONCE = 10_000  # so that their texts are never all objects at the same time

Numbers = npt.NDArray[np.uint64]


class Digests:
    """Fingerprints and the numbers of their rows.

    Of two with the same first half only one is found, so that one item in 10^7 runs of a million
    is asked again, and answered by the ledger; none is taken for another.

    Args:
        prints: 32 hex digits each, no two alike.
    """

    def __init__(self, prints: pa.ChunkedArray) -> None:
        highs, lows = _halves(prints)
        self._rows = np.argsort(highs, kind="stable")
        self._highs, self._lows = highs[self._rows], lows[self._rows]

    def find(self, prints: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """For each fingerprint, the row that has it, or -1."""
        highs, lows = _halves(prints)
        if not len(self._rows):
            return np.full(len(highs), -1, np.int64)
        at = np.minimum(np.searchsorted(self._highs, highs), len(self._rows) - 1)
        is_there = (self._highs[at] == highs) & (self._lows[at] == lows)
        return np.where(is_there, self._rows[at], -1)


def _halves(prints: pa.ChunkedArray) -> tuple[Numbers, Numbers]:
    parts = [
        bytes.fromhex("".join(prints.slice(start, _AT_ONCE).to_pylist()))
        for start in range(0, len(prints), _AT_ONCE)
    ]
    both = np.frombuffer(b"".join(parts), ">u8").astype(np.uint64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
