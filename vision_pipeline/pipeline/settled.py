"""Which items of a source need no work: those that an earlier run settled, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vision_pipeline.pipeline.item import WEB

IsChanged = Callable[[Sequence[tuple[str, str]]], list[bool]]


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """Items that were answered, or that failed for good.

    Attributes:
        prints: Their fingerprints.
        versions: The known version of each of their images.
        unread: Which of them failed for the bytes of an image.
    """

    prints: pa.StringArray
    versions: pa.ListArray
    unread: pa.BooleanArray

    @classmethod
    def of(cls, table: pa.Table) -> _Outcomes:
        names = ("_fingerprint", "versions", "is_unread")
        return cls(*(table[name].combine_chunks() for name in names))


class Settled:
    """Outcomes of earlier runs, by the fingerprints of their items.

    Args:
        outcomes: As `Results.settled` gives it, or None for none at all.
        is_changed: As in `Services`: a web image has no time of change in the source itself.
    """

    def __init__(self, outcomes: pa.Table | None, is_changed: IsChanged | None) -> None:
        self._is_changed = is_changed
        self._answered = self._failed = None
        if outcomes is not None:
            answers = outcomes["is_answer"]
            self._answered = _Outcomes.of(outcomes.filter(answers))
            self._failed = _Outcomes.of(outcomes.filter(pc.invert(answers)))

    def masks(self, images: pa.ListArray, prints: pa.StringArray) -> tuple[pa.Array, pa.Array]:
        """For a batch of items, which ones have an answer, and which ones failed for good.

        Args:
            images: The batch's column.
            prints: The items' fingerprints, in the same order.
        """
        return (
            self._mask(self._answered, images, prints),
            self._mask(self._failed, images, prints),
        )

    def _mask(
        self, outcomes: _Outcomes | None, images: pa.ListArray, prints: pa.StringArray
    ) -> pa.BooleanArray:
        if outcomes is None:
            return pa.repeat(pa.scalar(value=False), len(prints))
        known = pc.is_in(prints, outcomes.prints)
        if self._is_changed is None:
            return known
        changed = self._changed(self._is_changed, outcomes, images, prints, known)
        return pc.and_(known, pc.invert(changed))

    def _changed(
        self,
        is_changed: IsChanged,
        outcomes: _Outcomes,
        images: pa.ListArray,
        prints: pa.StringArray,
        known: pa.BooleanArray,
    ) -> pa.BooleanArray:
        mask = [False] * len(prints)
        rows: list[int] = []
        asked: list[tuple[str, str]] = []
        for row, pairs, is_unread in _web_items(outcomes, images, prints, known):
            # What was no image, from a server that tells no versions, may be one by now.
            mask[row] = is_unread and not any(version for _, version in pairs)
            some = [(url, version) for url, version in pairs if version]
            rows += [row] * len(some)
            asked += some
        if asked:
            for row, verdict in zip(rows, is_changed(asked), strict=True):
                mask[row] |= verdict
        return pa.array(mask, pa.bool_())


def _web_items(
    outcomes: _Outcomes, images: pa.ListArray, prints: pa.StringArray, known: pa.BooleanArray
) -> Iterator[tuple[int, list[tuple[str, str | None]], bool]]:
    """Row, images with their known versions, and unreadability, of items that the web may change.

    The images are those of the web alone, at least one.
    """
    if not pc.any(pc.starts_with(images.flatten().field("uri"), "http")).as_py():
        return
    at = pc.index_in(prints, outcomes.prints)
    versions = outcomes.versions.take(at).to_pylist()
    unread = outcomes.unread.take(at).to_pylist()
    for row, is_known in enumerate(known.to_pylist()):
        if not is_known:
            continue
        listed = zip(images[row].as_py(), versions[row], strict=True)
        pairs = [(each["uri"], version) for each, version in listed if each["uri"].startswith(WEB)]
        if pairs:
            yield row, pairs, unread[row]
