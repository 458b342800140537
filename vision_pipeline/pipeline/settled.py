"""Which items of a source need no work: those that an earlier run settled, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.core.members import parse_member
from vision_pipeline.pipeline.digests import Digests

Rows = npt.NDArray[np.int64]
IsChanged = Callable[[Sequence[tuple[str, str]]], list[bool]]


class Settled:
    """Outcomes of earlier runs, by the fingerprints of their items.

    Args:
        outcomes: As `Results.settled` gives it, or None for none at all.
        is_changed: As in `Services`: of an image of the web, or of a store, that a manifest names,
            the source tells no version.
    """

    def __init__(self, outcomes: pa.Table | None, is_changed: IsChanged | None) -> None:
        empty: dict[str, list[object]] = {"is_answer": [], "is_unread": [], "versions": []}
        nothing = pa.table({"_fingerprint": pa.array([], pa.string())} | empty)
        known = nothing if outcomes is None else outcomes
        self._digests = Digests(known["_fingerprint"])
        # One more, for what is found nowhere: row -1.
        self._is_answer = np.append(known["is_answer"].to_numpy().astype(np.bool_), np.False_)
        self._is_unread = known["is_unread"].to_numpy().astype(np.bool_)
        self._versions = known["versions"]
        self._is_changed = is_changed

    def masks(self, images: pa.ListArray, prints: pa.StringArray) -> tuple[pa.Array, pa.Array]:
        """For a batch of items, which ones have an answer, and which ones failed for good.

        Args:
            images: The batch's column.
            prints: The items' fingerprints, in the same order.
        """
        rows = self._digests.find(prints)
        if self._is_changed is not None:
            rows = np.where(self._changed(images, rows, self._is_changed), -1, rows)
        answered = self._is_answer[rows]
        return pa.array(answered), pa.array((rows >= 0) & ~answered)

    def _changed(
        self, images: pa.ListArray, rows: Rows, is_changed: IsChanged
    ) -> npt.NDArray[np.bool_]:
        """Which known items of a batch may have changed elsewhere; others have row -1."""
        mask = np.zeros(len(rows), np.bool_)
        items: list[int] = []
        asked: list[tuple[str, str]] = []
        for item, pairs in self._unwatched(images, rows):
            some = [(url, version) for url, version in pairs if version]
            # What was no image, from a server that tells no versions, may be one by now.
            mask[item] = self._is_unread[rows[item]] and not some
            items += [item] * len(some)
            asked += some
        if asked:
            np.logical_or.at(mask, items, is_changed(asked))
        return mask

    def _unwatched(
        self, images: pa.ListArray, rows: Rows
    ) -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
        """Number in the batch, and images that the source told no version of, with known ones."""
        listed = images.flatten()
        is_told_of = pc.not_equal(pc.fill_null(listed.field("version"), ""), "")
        is_remote = pc.match_substring(listed.field("uri"), "://")
        if not pc.any(pc.and_not(is_remote, is_told_of)).as_py():
            return
        items = np.flatnonzero(rows >= 0)
        versions = self._versions.take(pa.array(rows[items])).to_pylist()
        for item, its_versions in zip(items.tolist(), versions, strict=True):
            known = zip(images[item].as_py(), its_versions, strict=True)
            pairs = [(each["uri"], version) for each, version in known if _is_unwatched(each)]
            if pairs:
                yield item, pairs


def _is_unwatched(image: Mapping[str, Any]) -> bool:
    """Whether nobody but its server or store can tell that it has changed."""
    uri: str = image["uri"]
    return "://" in uri and not image["version"] and parse_member(uri) is None
