"""Ids that are unique within a source, for as many items as there are."""

from __future__ import annotations

from array import array

from vision_pipeline.core.errors import SourceError

_FEWEST_SLOTS = 1 << 12


class UniqueIds:
    """Tells repeated ids, remembering 8 bytes of each, its hash, in a table of 16 to 32 for each.

    Two different ids with one hash would be met once in 10^5 sources of 10 million items, and
    then cost a needless suffix.
    """

    def __init__(self) -> None:
        # Open addressing: a set of Python's own integers takes 65 to 100 bytes for each.
        self._slots = _free(_FEWEST_SLOTS)
        self._left = _FEWEST_SLOTS // 2

    def distinct(self, wanted: str) -> str:
        """The id itself the first time, then with ` (2)`, ` (3)`, … behind it."""
        number, candidate = 1, wanted
        while not self._is_new(candidate):
            number += 1
            candidate = f"{wanted} ({number})"
        return candidate

    def once(self, wanted: str, *, where: str) -> str:
        """The id itself.

        Raises:
            SourceError: It was there before; the message begins with `where`.
        """
        if not self._is_new(wanted):
            raise SourceError(f"{where}: the id {wanted!r} is there a second time")
        return wanted

    def _is_new(self, item_id: str) -> bool:
        """Whether it was not there before; it is from now on."""
        key = hash(item_id) or 1  # 0 marks a free slot
        slots = self._slots
        at = _slot(slots, key)
        if slots[at]:
            return False
        slots[at] = key
        self._left -= 1
        if not self._left:
            self._grow()
        return True

    def _grow(self) -> None:
        slots = _free(2 * len(self._slots))
        for key in self._slots:
            if key:
                slots[_slot(slots, key)] = key
        self._left = len(slots) // 4
        self._slots = slots


def _free(slots: int) -> array[int]:
    return array("q", [0]) * slots


def _slot(slots: array[int], key: int) -> int:
    """Where a key is, or else the free slot that it takes."""
    last = len(slots) - 1
    at = key & last
    while slots[at] not in (0, key):
        at = (at + 1) & last
    return at
