"""The bytes of an image, wherever its reference leads."""

from __future__ import annotations

import asyncio
import binascii
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NoReturn, Protocol
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pybase64

from vision_pipeline.adapters.images.parquet_rows import PathInsteadError
from vision_pipeline.adapters.images.stores import read_from_store
from vision_pipeline.core.addresses import is_literal, is_reachable
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.members import Member, leads_home, parse_member
from vision_pipeline.core.records import ImageRef, SourceImage

_WHITESPACE = b" \t\r\n\f"
_HOST = re.compile(r"://(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:]*)")


class MemberReader(Protocol):
    """Reads images out of one kind of container; called in threads, several at a time."""

    def read(self, member: Member, ref: ImageRef, *, max_bytes: int) -> bytes:
        """The member's content, at most `max_bytes` + 1 bytes of it.

        Args:
            member: Which one.
            ref: What the source listed of it.
            max_bytes: More is not read; the caller refuses it.

        Raises:
            ItemError: `source_missing` where it is not there or the container is not, or has
                changed since it was listed, `unreadable_image` where either is damaged, or the
                content is encrypted.
        """
        ...


class ImageReader:
    """Reads files, members of containers, `data:` URLs, object stores, and `http` by `fetch`.

    Args:
        fetch: Gives the body behind an `http` or `https` URL, within its own limits.
        members: For each scheme of a container, who reads its members.
        max_bytes: A larger image is refused, before it is read where its size is known.
        allow_private: Whether schemes that lead to any address are read too, such as `ftp`.
        root: No local file or container is read outside of it, with all links followed; None for
            anywhere. A source lists none, but a file may become a link meanwhile.
    """

    def __init__(
        self,
        fetch: Callable[[str], Awaitable[SourceImage]],
        *,
        max_bytes: int,
        members: Mapping[str, MemberReader] | None = None,
        allow_private: bool = False,
        root: Path | None = None,
    ) -> None:
        self._fetch = fetch
        self._members = members or {}
        self._max_bytes = max_bytes
        self._allow_private = allow_private
        self._root = root

    async def read(self, ref: ImageRef) -> SourceImage:
        """The encoded image.

        Raises:
            ItemError: `source_missing` where nothing is there or it may not be read,
                `image_too_large` above `max_bytes`, `unreadable_image` for a bad `data:` URL,
                `blocked_url` for a scheme that is no store, and what `fetch` raises.
        """
        scheme = _scheme(ref.uri)
        if scheme in {"http", "https"}:
            return await self._fetch(ref.uri)
        if scheme == "data":
            return SourceImage(self._data_url(ref.uri))
        if self._is_in_store(ref, scheme):
            self._allow(ref.uri, is_safe=leads_home(scheme, ref.uri))
            return await read_from_store(ref, max_bytes=self._max_bytes, limit=self._limit)
        try:
            return SourceImage(await asyncio.to_thread(self._read, ref), ref.version)
        except PathInsteadError as error:
            beside = await self._beside(ref.uri, error)
        return SourceImage(beside.data, ref.version)

    async def _beside(self, uri: str, row: PathInsteadError) -> SourceImage:
        """The image that a row of a table names by path or URL, as a manifest would."""
        location = _beside(uri, row.path)
        if parse_member(location) is not None:  # which could lead round in a circle
            raise row
        try:
            return await self.read(ImageRef(location))
        except ItemError as error:
            raise ItemError(error.code, f"{row.detail}: {error.detail}") from error

    def _is_in_store(self, ref: ImageRef, scheme: str | None) -> bool:
        if scheme in {None, "file"}:
            return False
        member = parse_member(ref.uri)
        return member is None or member.scheme not in self._members

    def _read(self, ref: ImageRef) -> bytes:
        if not ref.uri:
            raise ItemError(ErrorCode.SOURCE_MISSING, "the manifest names no image")
        member = parse_member(ref.uri)
        if member is not None and member.scheme in self._members:
            return self._member(member, ref)
        return self._local(_path_of(ref.uri))

    def _member(self, member: Member, ref: ImageRef) -> bytes:
        # Whatever the name looks like: it is only looked up in the container.
        scheme = _scheme(member.container)
        self._allow(member.container, is_safe=leads_home(scheme, member.container))
        if scheme in {None, "file"}:
            self._check_inside(_path_of(member.container))
        self._limit(ref.size_bytes or 0)
        data = self._members[member.scheme].read(member, ref, max_bytes=self._max_bytes)
        self._limit(len(data))
        return data

    def _allow(self, location: str, *, is_safe: bool) -> None:
        """Refuse what could lead to any address: only files and stores are read from here."""
        if is_safe:
            return
        scheme = location.partition("://")[0]
        if not self._allow_private:
            allowing = "source.allow_private_urls: true reads it"
            detail = f"{scheme}: could lead to a private address ({allowing})"
            raise ItemError(ErrorCode.BLOCKED_URL, detail)
        for host in _HOST.findall(location):
            bare = host.strip("[]")
            if is_literal(bare) and not is_reachable(bare, allow_private=True):
                detail = f"{bare} is link-local or a cloud's metadata service: never read from"
                raise ItemError(ErrorCode.BLOCKED_URL, detail)

    def _check_inside(self, path: str) -> Path:
        """Where a path leads to, all links followed.

        Raises:
            ItemError: `source_missing`: that lies outside of `root`.
        """
        try:
            real = Path(path).resolve()
        except (OSError, RuntimeError, ValueError):  # a link to itself, a NUL: opening it tells
            return Path(path)
        if self._root is not None and not real.is_relative_to(self._root):
            _missing(f"a link leads out of source.path, to {real} (source.follow_links follows it)")
        return real

    def _local(self, path: str) -> bytes:
        real = self._check_inside(path)
        try:
            # A pipe would block until somebody writes, and opening a device may act on it.
            if not stat.S_ISREG(real.stat().st_mode):
                _missing("not a regular file")
            with open(real, "rb", opener=_open_at_once) as file:
                self._limit(os.fstat(file.fileno()).st_size)
                data: bytes = file.read(self._max_bytes + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            detail = getattr(error, "strerror", None) or str(error)
            name = path.rpartition("/")[2]
            if name != name.strip():  # which nobody sees in a table
                detail += f"; the name is {name!r}, with space at an end"
            raise ItemError(ErrorCode.SOURCE_MISSING, detail) from error
        self._limit(len(data))
        return data

    def _data_url(self, url: str) -> bytes:
        header, comma, body = url.partition(",")
        if not comma:
            _unreadable("no comma")
        is_base64 = header.lower().rstrip().endswith(";base64")
        data = unquote_to_bytes(body)
        if is_base64:
            data = _from_base64(data)
        self._limit(len(data))
        return data

    def _limit(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            detail = f"{size_bytes} bytes are more than image.max_source_bytes ({self._max_bytes})"
            raise ItemError(ErrorCode.IMAGE_TOO_LARGE, detail)


def _beside(uri: str, path: str) -> str:
    """Where a path leads that stands in a row of a table."""
    if _scheme(path) is not None or path.startswith("/"):
        return path
    member = parse_member(uri)
    container = member.container if member is not None else uri
    folder, slash, _ = container.rpartition("/")
    # Of a `file:` URL, whose folder is encoded, the path is encoded too.
    is_encoded = _scheme(container) == "file"
    return f"{folder}{slash}{quote(path) if is_encoded else path.removeprefix('./')}"


def _scheme(uri: str) -> str | None:
    """The scheme in lower case, or None for a path. Only `data` goes without `//`."""
    scheme, mark, rest = uri.partition(":")
    lowered = scheme.lower()
    if lowered == "data":
        return lowered
    return lowered if mark and rest.startswith("//") and scheme.isascii() else None


def _path_of(location: str) -> str:
    """The local path that a path or `file:` URL is."""
    if _scheme(location) is None:
        return location
    return os.fsdecode(unquote_to_bytes(urlsplit(location).path))


def _open_at_once(path: str, flags: int) -> int:
    # All links were followed before: one that is there now was put there meanwhile.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _from_base64(text: bytes) -> bytes:
    bare = text.translate(None, _WHITESPACE)
    padded = bare + b"=" * (-len(bare) % 4)
    altchars = b"-_" if b"-" in bare or b"_" in bare else None
    try:
        return pybase64.b64decode(padded, altchars, validate=True)
    except binascii.Error as error:
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"bad data URL: {error}") from error


def _missing(detail: str) -> NoReturn:
    raise ItemError(ErrorCode.SOURCE_MISSING, detail)


def _unreadable(detail: str) -> NoReturn:
    raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"bad data URL: {detail}")
