"""Members of zip archives."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import NoReturn

from vision_pipeline.adapters.images.containers import explained, open_container, stamp_of
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.members import Member, readable
from vision_pipeline.core.records import ImageRef
from vision_pipeline.core.zip import ZIP_DAMAGE, is_encrypted, read_member


class ZipReader:
    """A `MemberReader` for zip archives; safe in threads.

    Archives stay open, for their directories are long: about 1 kB of memory a member.

    Args:
        most_open: How many stay open while nobody reads from them.
    """

    def __init__(self, *, most_open: int = 4) -> None:
        self._most_open = most_open
        self._open: OrderedDict[str, _OpenZip] = OrderedDict()
        self._lock = Lock()

    def read(self, member: Member, ref: ImageRef, *, max_bytes: int) -> bytes:
        """As in `MemberReader`."""
        with explained(), self._borrowed(member.container) as archive:
            return archive.read(member, ref, most=max_bytes + 1)

    def close(self) -> None:
        """Close all archives, those being read as soon as that is done."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].retire()

    @contextmanager
    def _borrowed(self, container: str) -> Iterator[_OpenZip]:
        with self._lock:
            archive = self._opened(container)
            archive.borrow()
        try:
            yield archive
        finally:
            with self._lock:
                archive.give_back()

    def _opened(self, container: str) -> _OpenZip:
        stamp = stamp_of(container)
        archive = self._open.pop(container, None)
        if archive is not None and archive.stamp != stamp:
            archive.retire()
            archive = None
        if archive is None:
            archive = _OpenZip(container)
        self._open[container] = archive
        if len(self._open) > self._most_open:
            self._open.popitem(last=False)[1].retire()
        return archive


class _OpenZip:
    """An open archive and its directory; closed when it is retired and the last reader is done.

    Attributes:
        stamp: Of the file when it was opened.
    """

    def __init__(self, container: str) -> None:
        self.stamp = stamp_of(container)
        self._file = open_container(container)
        try:
            # Given a file, it never closes it by itself: readers in threads may come and go.
            self._zip = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise
        members = [each for each in self._zip.infolist() if not each.is_dir()]
        self._by_offset = {each.header_offset: each for each in members}
        self._by_name = {readable(each.filename): each for each in members}
        self._readers = 0
        self._is_retired = False

    def read(self, member: Member, ref: ImageRef, *, most: int) -> bytes:
        found = self._found(member, ref)
        if is_encrypted(found):
            _unreadable("the archive's member is encrypted")
        try:
            return read_member(self._zip, found, most=most)
        except ZIP_DAMAGE as error:
            _unreadable(f"the archive's member is damaged: {error}")

    def borrow(self) -> None:
        self._readers += 1

    def give_back(self) -> None:
        self._readers -= 1
        self._close_if_done()

    def retire(self) -> None:
        self._is_retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_retired and not self._readers:
            self._zip.close()
            self._file.close()

    def _found(self, member: Member, ref: ImageRef) -> zipfile.ZipInfo:
        if ref.offset_bytes is None:
            named = self._by_name.get(readable(member.name))
            return named or _missing(f"the archive has no member {member.name!r}")
        listed = self._by_offset.get(ref.offset_bytes)
        if (
            listed is None
            or readable(listed.filename) != member.name
            or listed.file_size != ref.size_bytes
        ):
            _missing("the archive has changed since it was listed")
        return listed


def _missing(detail: str) -> NoReturn:
    raise ItemError(ErrorCode.SOURCE_MISSING, detail)


def _unreadable(detail: str) -> NoReturn:
    raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail)
