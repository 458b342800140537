"""Archives as folders of images, read in place: what they are, and the members of zip archives."""

from __future__ import annotations

import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import IO

from vision_pipeline.adapters.sources.batches import Found
from vision_pipeline.adapters.sources.file_systems import open_hopping
from vision_pipeline.adapters.sources.identity import UniqueIds
from vision_pipeline.adapters.sources.pages import Pages
from vision_pipeline.adapters.sources.patterns import Patterns
from vision_pipeline.core.errors import SourceError
from vision_pipeline.core.members import Member, is_chain, readable
from vision_pipeline.core.zip import read_member

_PACKED_TAR = re.compile(r"\.(?:tar\.(gz|bz2|xz|zst)|t(gz|bz2|xz|zst))$", re.IGNORECASE)
_UNPACKERS = {"gz": "gunzip", "bz2": "bunzip2", "xz": "unxz", "zst": "unzstd"}
_MAC_FOLDER = "__MACOSX"  # what macOS keeps of resource forks in each zip that it makes


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar or zip archive that is listed as a folder is.

    Attributes:
        scheme: `tar` or `zip`.
        location: Absolute path or URL; without `::`.
        prefix: What the ids of its items begin with: "" where it is the whole source, else its
            file name and a slash.
        version: Time of change in ns or ETag, which tells another archive of the same name.
    """

    scheme: str
    location: str
    prefix: str
    version: str = ""

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Its file, and whatever reading it raises as a `SourceError` that names it."""
        try:
            with open_hopping(self.location) as file:
                yield file
        except Exception as error:  # zipfile's, the operating system's, each file system's own
            cause = getattr(error, "strerror", None) or error
            detail = f"{self.location}: no {self.scheme} archive, or damaged: {cause}"
            raise SourceError(detail) from error


@dataclass(frozen=True, slots=True)
class Listing:
    """What goes along through all archives of a source.

    Attributes:
        patterns: Which members are taken.
        pages: Tells how many pages a document has.
        ids: Those given out so far.
        counts: Of what is passed over, by reason.
    """

    patterns: Patterns
    pages: Pages
    ids: UniqueIds
    counts: Counter[str]

    def reason_to_skip(self, name: str) -> str | None:
        """As that of `Patterns`, and `hidden`, for the name of a member."""
        return "hidden" if is_hidden(name) else self.patterns.reason_to_skip(name)


def archive_at(location: str, prefix: str, version: str = "") -> Archive | None:
    """The archive that a file is by its name, or None.

    Raises:
        SourceError: It is a compressed tar, or its location could not be told from a member's.
    """
    packed = _PACKED_TAR.search(location)
    if packed is not None:
        unpacker = _UNPACKERS[(packed[1] or packed[2]).lower()]
        file_name = location.rpartition("/")[2]
        raise SourceError(
            f"{location}: a compressed tar cannot be read in place; "
            f"decompress it first: {unpacker} {file_name}"
        )
    scheme = location.lower().rpartition(".")[2]
    if scheme not in {"tar", "zip"}:
        return None
    if is_chain(location):
        raise SourceError(f"{location}: rename the archive or its folder: the path has '::' in it")
    return Archive(scheme, location, prefix, version)


def is_hidden(name: str) -> bool:
    """Whether a part of a path begins with a dot, or macOS put it there for itself."""
    parts = name.split("/")
    dotted = (part.startswith(".") and part.strip(".") for part in parts)
    return parts[0] == _MAC_FOLDER or any(dotted)


def zip_images(archive: Archive, listing: Listing) -> Iterator[Found]:
    """The images of a zip archive in the order of its directory, which is held in memory.

    Of several archives, a damaged one is an item whose reading fails and says so.

    Raises:
        SourceError: The only archive is missing, no zip archive, or damaged.
    """
    try:
        yield from _zip_members(archive, listing)
    except SourceError:
        if not archive.prefix:
            raise
        name = "(damaged)"
        uri = Member(archive.scheme, name, archive.location).uri
        yield Found(archive.prefix + name, uri, 0, archive.version)


def _zip_members(archive: Archive, listing: Listing) -> Iterator[Found]:
    with archive.opened() as file, zipfile.ZipFile(file) as directory:
        for member in directory.infolist():
            if not member.filename or member.is_dir():
                continue
            name = readable(member.filename)
            reason = listing.reason_to_skip(name) or _reason_by_kind(member)
            if reason is not None:
                listing.counts[reason] += 1
                continue
            year, *others = member.date_time
            changed = "".join(f"{part:02d}" for part in others)
            found = Found(
                listing.ids.distinct(archive.prefix + name),
                Member(archive.scheme, name, archive.location).uri,
                member.file_size,
                f"{year}{changed}-{member.CRC:08x}",
                offset_bytes=member.header_offset,
            )
            pages = listing.pages
            yield from pages.of(found, partial(_content, directory, member, most=pages.max_bytes))


def _content(directory: zipfile.ZipFile, member: zipfile.ZipInfo, *, most: int) -> IO[bytes]:
    # As a whole: a chain of directories that leads backwards would inflate it again each time.
    return BytesIO(read_member(directory, member, most=most))


def _reason_by_kind(member: zipfile.ZipInfo) -> str | None:
    mode = stat.S_IFMT(member.external_attr >> 16)  # 0 where no Unix wrote it
    return None if mode in {0, stat.S_IFREG} else "links"
