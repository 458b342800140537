"""What is in a tar archive, told by its headers alone: POSIX (ustar, pax), GNU and the old form.

Python's own `tarfile` trusts what headers say of sizes: it reads backwards for ever where one is
negative, and takes into memory whatever an extended header asks for. This one does neither.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO

BLOCK_BYTES = 512
_ZEROS = bytes(BLOCK_BYTES)
_MOST_EXTENSION_BYTES = 1024 * 1024  # a path and some times; tar itself never writes so many
_MOST_DIGITS = 32
_MOST_ZERO_BYTES = 4 * 1024 * 1024  # writers fill up to 10 KiB, or to what a tape takes at once
_MOST_MEMBER_BYTES = 1 << 62  # offsets behind it fit into 64 bits
_MOST_HOPS = 40  # from link to link, as many as Linux follows
_NEGATIVE = b"\xff"  # how a negative number in base 256 begins

_REGULAR = b"07\x00"
_PLAIN_OLD = b"\x00"
_WITHOUT_CONTENT = b"123456"  # links, devices, folders, pipes: their size means nothing
_HARD_LINK, _SYMBOLIC_LINK = b"1", b"2"
_GNU_SPARSE = b"S"
_GNU_NAME, _GNU_LINK = b"L", b"K"
_PAX, _PAX_OLD, _PAX_GLOBAL = b"x", b"X", b"g"
_EXTENSIONS = frozenset({_GNU_NAME, _GNU_LINK, _PAX, _PAX_OLD, _PAX_GLOBAL})


class DamagedTarError(ValueError):
    """The file is no tar archive from somewhere on, or it ends too early."""


class UnendedTarError(DamagedTarError):
    """The last member is whole, but no end mark follows: something may be cut off."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """One entry of an archive.

    Attributes:
        name: Its path as stored, without a leading `./`; bytes that are no UTF-8 are surrogates.
        offset_bytes: Where its content begins.
        size_bytes: Length of its content.
        modified: Its time of change in seconds since 1970, as written.
        is_regular: Whether it is a file with all of its content in one piece.
        target: Of a link, the name of the member that it leads to, if there is one; else None.
    """

    name: str
    offset_bytes: int
    size_bytes: int
    modified: str
    is_regular: bool
    target: str | None = None

    @property
    def end_bytes(self) -> int:
        """Where the next entry begins."""
        return self.offset_bytes + _padded(self.size_bytes)


def tar_members(file: IO[bytes]) -> Iterator[TarMember]:
    """Every entry in order; reads headers only. The last one's content may be cut off.

    Archives that were written one behind the other are read as one, as `tar -i` does.

    Args:
        file: Seekable; it may be read elsewhere between two entries.

    Raises:
        DamagedTarError: After the last entry in front of something that is none.
    """
    end = file.seek(0, 2)
    at, extra = 0, _Extra()
    if not end:
        raise DamagedTarError("the file is empty")
    while at < end:
        block = _read(file, at, BLOCK_BYTES)
        if block == _ZEROS:
            at = _behind_zeros(file, at + BLOCK_BYTES, end)
            if at == end and extra == _Extra():
                return
            continue
        header = _Header.of(block)
        content_at = at + BLOCK_BYTES
        if header.kind in _EXTENSIONS:
            extra = extra.with_more(header, file)
            at = content_at + _padded(header.size_bytes)
            continue
        member, at = _member(file, header, extra, content_at)
        yield member
        extra = _Extra()
        if member.offset_bytes + member.size_bytes > end:
            return
    if extra != _Extra():
        raise DamagedTarError("the last member is cut off")
    raise UnendedTarError("no end mark follows the last member")


def files_of(members: Iterable[TarMember]) -> tuple[list[TarMember], list[str]]:
    """The files among members, and the names of links that lead to none of them.

    GNU tar stores a second name of a file as a link to the first: such a link is a file here, under
    its own name with the content of its target. Of two targets with one name the last one counts.
    """
    named = [each for each in members if each.name and (each.is_regular or each.target)]
    if all(each.is_regular for each in named):
        return named, []
    by_name = {each.name: each for each in named}
    files, lost = [], []
    for member in named:
        target: TarMember | None = member
        for _ in range(_MOST_HOPS):
            if target is None or target.target is None:
                break
            target = by_name.get(target.target)
        if target is not None and target.is_regular:
            files.append(replace(target, name=member.name))
        else:
            lost.append(member.name)
    return files, lost


def _behind_zeros(file: IO[bytes], at: int, end: int) -> int:
    """Where a block begins that is not all zeros, or `end`."""
    most = min(end, at + _MOST_ZERO_BYTES)
    while at < most:
        if file.read(BLOCK_BYTES).strip(b"\x00"):
            return at
        at += BLOCK_BYTES
    return end


def is_header_of(block: bytes, size_bytes: int) -> bool:
    """Whether a block is a member's header and states this size."""
    try:
        return _Header.of(block).size_bytes == size_bytes
    except DamagedTarError:
        return False


@dataclass(frozen=True, slots=True)
class _Header:
    name: bytes
    size_bytes: int
    modified: str
    kind: bytes
    link: bytes
    continues: bool

    @classmethod
    def of(cls, block: bytes) -> _Header:
        """A header block taken apart (POSIX.1-1988, ustar), its checksum seen to be right."""
        if len(block) < BLOCK_BYTES or not _is_sound(block):
            raise DamagedTarError("there is no header where one must be")
        name, kind = _text(block[:100]), block[156:157]
        if block[257:263] == b"ustar\x00" and (prefix := _text(block[345:500])):
            name = prefix + b"/" + name
        size = _number(block[124:136])
        if size < 0:
            raise DamagedTarError("a header states a negative size")
        continues = kind == _GNU_SPARSE and block[482] != 0
        return cls(name, size, str(_number(block[136:148])), kind, _text(block[157:257]), continues)


@dataclass(frozen=True, slots=True)
class _Extra:
    """What extended headers say of the next member, in place of its own header."""

    name: bytes | None = None
    link: bytes | None = None
    records: dict[bytes, bytes] = field(default_factory=dict)

    def with_more(self, header: _Header, file: IO[bytes]) -> _Extra:
        """This, and what the extended header that `file` stands behind adds."""
        if header.size_bytes > _MOST_EXTENSION_BYTES:
            raise DamagedTarError(f"an extended header states {header.size_bytes} bytes")
        content = file.read(header.size_bytes)
        if len(content) < header.size_bytes:
            raise DamagedTarError("an extended header is cut off")
        if header.kind == _GNU_NAME:
            return replace(self, name=_text(content))
        if header.kind == _GNU_LINK:
            return replace(self, link=_text(content))
        if header.kind in {_PAX, _PAX_OLD}:
            records = self.records | dict(_records(content))
            link = records.get(b"linkpath", self.link)
            return _Extra(records.get(b"path", self.name), link, records)
        return self  # defaults for the whole archive

    @property
    def size_bytes(self) -> int | None:
        """The content's length, where it is stated here."""
        text = self.records.get(b"size")
        if text is None:
            return None
        if not text.isdigit() or len(text) > _MOST_DIGITS:
            raise DamagedTarError("an extended header states a size that is none")
        return int(text)

    @property
    def is_sparse(self) -> bool:
        """Whether the content is stored in pieces."""
        return any(key.startswith(b"GNU.sparse.") for key in self.records)


def _member(
    file: IO[bytes], header: _Header, extra: _Extra, content_at: int
) -> tuple[TarMember, int]:
    """The member, and where the next header is."""
    raw = header.name if extra.name is None else extra.name
    name = raw.decode(errors="surrogateescape").removeprefix("./")
    size = header.size_bytes if extra.size_bytes is None else extra.size_bytes
    if size > _MOST_MEMBER_BYTES:
        raise DamagedTarError("a header states a size that no file has")
    is_folder = header.kind == _PLAIN_OLD and name.endswith("/")
    if header.kind in _WITHOUT_CONTENT or is_folder:
        size = 0
    continues = header.continues
    while continues:  # the map of a sparse file goes on in further blocks
        continues = _read(file, content_at, BLOCK_BYTES)[504] != 0
        content_at += BLOCK_BYTES
    is_regular = header.kind in _REGULAR and not is_folder and not extra.is_sparse
    mtime = extra.records.get(b"mtime", b"")[:_MOST_DIGITS].decode(errors="replace")
    target = _target(header.kind, name, header.link if extra.link is None else extra.link)
    member = TarMember(name, content_at, size, mtime or header.modified, is_regular, target)
    return member, content_at + _padded(size)


def _target(kind: bytes, name: str, link: bytes) -> str | None:
    """Where a link leads, as a name in the archive."""
    text = link.decode(errors="surrogateescape")
    if kind == _HARD_LINK:
        return text.removeprefix("./")
    if kind == _SYMBOLIC_LINK:
        return posixpath.normpath(posixpath.join(posixpath.dirname(name), text))
    return None


def _read(file: IO[bytes], at: int, size: int) -> bytes:
    file.seek(at)
    block = file.read(size)
    if len(block) < size:
        raise DamagedTarError("a header is cut off")
    return block


def _is_sound(block: bytes) -> bool:
    stated = _number(block[148:156])
    counted = block[:148] + b" " * 8 + block[156:]
    total = sum(counted)
    # Some old writers summed up signed bytes.
    return stated == total or stated == total - 256 * sum(each >> 7 for each in counted)


def _number(text: bytes) -> int:
    """Octal digits, or as GNU writes what is too large for them, base 256."""
    if text[0] & 0x80:
        value = int.from_bytes(text, "big", signed=True)
        return value if text.startswith(_NEGATIVE) else value + (1 << (8 * len(text) - 1))
    digits = _text(text).strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError as error:
        raise DamagedTarError(f"a header has {digits!r} for a number") from error


def _text(text: bytes) -> bytes:
    return text.partition(b"\x00")[0]


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records of a pax header, each `length key=value` and a newline."""
    at = 0
    while at < len(content) and content[at]:
        length, space, _ = content[at : at + 20].partition(b" ")
        if not (space and length.isdigit() and int(length) > len(length) + 2):
            raise DamagedTarError("an extended header has a record without a length")
        record = content[at + len(length) + 1 : at + int(length) - 1]
        key, _, value = record.partition(b"=")
        yield key, value
        at += int(length)
