"""The members of tar archives: one item an image, or where it is a WebDataset, one a sample."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, cast

from vision_pipeline.adapters.sources.archives import Archive, Listing
from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.pages import Pages
from vision_pipeline.adapters.sources.tar_members import TarMembers
from vision_pipeline.core.members import Member, damaged_from, readable
from vision_pipeline.core.tar import (
    BLOCK_BYTES,
    DamagedTarError,
    TarMember,
    UnendedTarError,
    files_of,
    tar_members,
)


@dataclass(frozen=True, slots=True)
class TarContents:
    """The files in a tar archive.

    Attributes:
        members: Files in order, links to one of them too; the content of the last one may be cut
            off.
        lost_links: Names of links that lead to none of them.
        damaged_at_bytes: Behind which place no more can be told, or None where all is listed.
        has_end: Whether an end mark says that nothing was cut off; True where it is damaged.
    """

    members: TarMembers
    lost_links: list[str] = field(default_factory=list)
    damaged_at_bytes: int | None = None
    has_end: bool = True


def tar_contents(archive: Archive) -> TarContents:
    """What an archive holds, from its headers alone.

    Raises:
        SourceError: The file is missing, or no tar archive from its first member on.
    """
    entries, has_links = TarMembers(), False
    end_bytes, damaged_at_bytes, has_end = 0, None, True
    with archive.opened() as file:
        try:
            for entry in tar_members(file):
                end_bytes = entry.end_bytes
                if entry.name and (entry.is_regular or entry.target):
                    entries.append(entry)
                    has_links |= not entry.is_regular
        except UnendedTarError:
            has_end = False
        except DamagedTarError:
            if not end_bytes:
                raise
            damaged_at_bytes = end_bytes
    if not has_links:
        return TarContents(entries, [], damaged_at_bytes, has_end)
    members, lost_links = files_of(entries)
    return TarContents(TarMembers(members), lost_links, damaged_at_bytes, has_end)


def damaged_rest(archive: Archive, at_bytes: int) -> Found:
    """An item in place of all that cannot be told any more; reading it fails and says so."""
    name = damaged_from(f"byte {at_bytes}")
    uri = Member(archive.scheme, name, archive.location).uri
    content_at = at_bytes + BLOCK_BYTES
    return Found(archive.prefix + name, uri, 0, archive.version, offset_bytes=content_at)


def tar_images(archive: Archive, members: TarMembers, listing: Listing) -> Iterator[Found]:
    """The images of an archive, each an item.

    Raises:
        SourceError: The file is no longer there.
    """
    with archive.opened() as file:
        for member in members:
            name = readable(member.name)
            reason = listing.reason_to_skip(name)
            if reason is None:
                item_id = listing.ids.distinct(archive.prefix + name)
                yield from pages_of(archive, member, item_id, pages=listing.pages, file=file)
            else:
                listing.counts[reason] += 1


def pages_of(
    archive: Archive, member: TarMember, item_id: str, *, pages: Pages, file: IO[bytes]
) -> list[Found]:
    """A member as one image, or as several where it is a document of several pages.

    Args:
        archive: Where it is.
        member: Which one.
        item_id: The id, to which pages add their number.
        pages: Tells how many pages there are.
        file: The archive's file.
    """
    found = Found(
        item_id,
        Member(archive.scheme, readable(member.name), archive.location).uri,
        member.size_bytes,
        # A tar has no checksums of contents, and many writers set all times of members to 0.
        f"{archive.version}-{member.offset_bytes}-{readable(member.modified)}",
        offset_bytes=member.offset_bytes,
    )
    return pages.of(found, lambda: cast("IO[bytes]", _Content(file, member)))


class _Content(io.RawIOBase):
    """A member's content as a file of its own; closing it leaves the archive's open."""

    def __init__(self, file: IO[bytes], member: TarMember) -> None:
        super().__init__()
        self._file = file
        self._member = member
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._member.size_bytes}
        self._at = starts[whence] + offset
        return self._at

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        left = max(self._member.size_bytes - self._at, 0)
        self._file.seek(self._member.offset_bytes + self._at)
        data = self._file.read(min(len(buffer), left))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
