"""Members of tar archives."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from threading import Lock
from typing import NoReturn

from vision_pipeline.adapters.images.containers import (
    Stamp,
    explained,
    open_container,
    read_range,
    stamp_of,
)
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.members import Member, readable
from vision_pipeline.core.records import ImageRef
from vision_pipeline.core.tar import (
    BLOCK_BYTES,
    DamagedTarError,
    TarMember,
    files_of,
    is_header_of,
    tar_members,
)

_Places = dict[str, tuple[int, int]]


class TarReader:
    """A `MemberReader` for uncompressed tar archives; safe in threads.

    A reference that says where its content begins takes one short read. For others, as in a
    manifest that somebody wrote, the archive's headers are read once and kept.

    Args:
        most_known: How many archives' headers are kept, about 150 bytes a member.
    """

    def __init__(self, *, most_known: int = 4) -> None:
        self._most_known = most_known
        self._known: OrderedDict[str, tuple[Stamp, _Places]] = OrderedDict()
        self._lock = Lock()

    def read(self, member: Member, ref: ImageRef, *, max_bytes: int) -> bytes:
        """As in `MemberReader`."""
        with explained():
            if ref.offset_bytes is not None and ref.size_bytes is not None:
                offset, size = ref.offset_bytes, ref.size_bytes
            else:
                offset, size = self._found(member)
            wanted = min(size, max_bytes + 1)
            # With the header in front, which tells whether the archive is still the same.
            data = read_range(member.container, offset - BLOCK_BYTES, BLOCK_BYTES + wanted)
            header, content = data[:BLOCK_BYTES], data[BLOCK_BYTES:]
            if not is_header_of(header, size):
                place = f"byte {offset - BLOCK_BYTES}"
                _broken(member, ref, f"no tar header at {place}: the archive is damaged there")
            if len(content) < wanted:
                _broken(member, ref, "the archive ends within this member: it is cut off")
        return content

    def _found(self, member: Member) -> tuple[int, int]:
        with self._lock:
            place = self._places(member.container).get(readable(member.name).removeprefix("./"))
        return place or _missing(f"the archive has no member {member.name!r}")

    def _places(self, container: str) -> _Places:
        stamp = stamp_of(container)
        known = self._known.pop(container, None)
        if known is None or known[0] != stamp:
            known = (stamp, _read_places(container))
        self._known[container] = known
        if len(self._known) > self._most_known:
            self._known.popitem(last=False)
        return known[1]


def _read_places(container: str) -> _Places:
    members: list[TarMember] = []
    # What stands in front of the damage can be had all the same.
    with open_container(container) as file, suppress(DamagedTarError):
        members += (each for each in tar_members(file) if each.is_regular or each.target)
    # Of two with one name the last one counts, as for tar itself.
    return {
        readable(each.name): (each.offset_bytes, each.size_bytes) for each in files_of(members)[0]
    }


def _broken(member: Member, ref: ImageRef, detail: str) -> NoReturn:
    """Tell an archive that is damaged from one that is another by now.

    A version that a source listed begins with the archive's own.
    """
    stamp = stamp_of(member.container)
    if stamp is not None and ref.version and ref.version.partition("-")[0] != str(stamp[1]):
        _missing("the archive has changed since it was listed: run again")
    raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail)


def _missing(detail: str) -> NoReturn:
    raise ItemError(ErrorCode.SOURCE_MISSING, detail)
