"""The members of tar archives, held by the million."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from vision_pipeline.core.tar import TarMember

_AT_ONCE = 1000  # so that they are never all objects at the same time


class TarMembers:
    """Files in an archive in their order, each in its name and about 40 bytes."""

    def __init__(self, members: Iterable[TarMember] = ()) -> None:
        self._packed: list[pa.RecordBatch] = []
        self._last: list[TarMember] = []
        for member in members:
            self.append(member)

    def append(self, member: TarMember) -> None:
        """Add a file, or a link to one."""
        self._last.append(member)
        if len(self._last) == _AT_ONCE:
            self._packed.append(_packed(self._last))
            self._last = []

    def __len__(self) -> int:
        return len(self._packed) * _AT_ONCE + len(self._last)

    def __iter__(self) -> Iterator[TarMember]:
        for batch in self._packed:
            for record in batch.to_pylist():
                name, target = record.pop("name"), record.pop("target")
                yield TarMember(_text(name), target=target and _text(target), **record)
        yield from self._last


def _packed(members: list[TarMember]) -> pa.RecordBatch:
    columns = {
        "name": pa.array([_bytes(each.name) for each in members], pa.binary()),
        "target": pa.array([each.target and _bytes(each.target) for each in members], pa.binary()),
        "offset_bytes": pa.array([each.offset_bytes for each in members], pa.int64()),
        "size_bytes": pa.array([each.size_bytes for each in members], pa.int64()),
        "modified": pa.array([each.modified for each in members], pa.string()),
        "is_regular": pa.array([each.is_regular for each in members], pa.bool_()),
    }
    return pa.RecordBatch.from_pydict(columns)


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
