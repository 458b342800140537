"""Ids that are unique within a source, for as many items as there are."""

from __future__ import annotations

from vision_pipeline.core.errors import SourceError


class UniqueIds:
    """Tells repeated ids, remembering 8 bytes of each: its hash.

    Two different ids with one hash would be met once in 10^5 sources of 10 million items, and
    then cost a needless suffix.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def distinct(self, wanted: str) -> str:
        """The id itself the first time, then with ` (2)`, ` (3)`, … behind it."""
        number, candidate = 1, wanted
        while hash(candidate) in self._seen:
            number += 1
            candidate = f"{wanted} ({number})"
        self._seen.add(hash(candidate))
        return candidate

    def once(self, wanted: str, *, where: str) -> str:
        """The id itself.

        Raises:
            SourceError: It was there before; the message begins with `where`.
        """
        if hash(wanted) in self._seen:
            raise SourceError(f"{where}: the id {wanted!r} is there a second time")
        self._seen.add(hash(wanted))
        return wanted
