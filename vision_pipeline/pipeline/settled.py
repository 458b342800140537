"""Which items of a source need no work: those that an earlier run settled, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.pipeline.item import WEB

IsChanged = Callable[[Sequence[tuple[str, str]]], list[bool]]


class Settled:
    """Outcomes of earlier runs, by the fingerprints of their items.

    Args:
        outcomes: As `Results.settled` gives it, or None for none at all.
        is_changed: As in `Services`: a web image has no time of change in the source itself.
    """

    def __init__(self, outcomes: pa.Table | None, is_changed: IsChanged | None) -> None:
        nothing = pa.array([], pa.string())
        self._answered = self._failed = nothing
        self._versions = pa.array([], pa.list_(pa.string()))
        self._is_changed = is_changed
        if outcomes is not None:
            prints = outcomes["_fingerprint"].combine_chunks()
            answers = outcomes["is_answer"].combine_chunks()
            self._answered = prints.filter(answers)
            self._failed = prints.filter(pc.invert(answers))
            self._versions = outcomes["versions"].combine_chunks().filter(answers)

    def masks(self, images: pa.ListArray, prints: pa.StringArray) -> tuple[pa.Array, pa.Array]:
        """For a batch of items, which ones have an answer, and which ones failed for good.

        Args:
            images: The batch's column.
            prints: The items' fingerprints, in the same order.
        """
        answered = pc.is_in(prints, self._answered)
        if self._is_changed is not None:
            answered = pc.and_(answered, pc.invert(self._changed(images, prints, answered)))
        return answered, pc.is_in(prints, self._failed)

    def _changed(
        self, images: pa.ListArray, prints: pa.StringArray, answered: pa.BooleanArray
    ) -> pa.BooleanArray:
        rows: list[int] = []
        known: list[tuple[str, str]] = []
        for row, urls, versions in self._web_items(images, prints, answered):
            for url, version in zip(urls, versions, strict=True):
                if url.startswith(WEB) and version:
                    rows.append(row)
                    known.append((url, version))
        mask = [False] * len(prints)
        if known and self._is_changed is not None:
            for row, is_changed in zip(rows, self._is_changed(known), strict=True):
                mask[row] |= is_changed
        return pa.array(mask, pa.bool_())

    def _web_items(
        self, images: pa.ListArray, prints: pa.StringArray, answered: pa.BooleanArray
    ) -> Iterator[tuple[int, list[str], list[str | None]]]:
        """Row, URIs and known versions of the answered items that the web may have changed."""
        if not pc.any(pc.starts_with(images.flatten().field("uri"), "http")).as_py():
            return
        versions = self._versions.take(pc.index_in(prints, self._answered)).to_pylist()
        for row, is_answered in enumerate(answered.to_pylist()):
            if is_answered:
                yield row, [each["uri"] for each in images[row].as_py()], versions[row]
