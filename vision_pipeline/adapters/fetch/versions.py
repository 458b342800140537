"""What a response's headers tell of the version of the image behind a URL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_VERSION_CHARS = 200


def version_of(headers: Mapping[str, str]) -> str:
    """The `ETag` as sent, else the `Last-Modified`, else "".

    Args:
        headers: Of the response that carries the image; names in any case that the mapping knows.

    Returns:
        Printable ASCII of at most `MAX_VERSION_CHARS` characters.
    """
    etag = headers.get("etag", "").strip()
    if _opaque(etag) and _date(etag) is None and _is_storable(etag):
        return etag
    modified = headers.get("last-modified", "").strip()
    return modified if _date(modified) and _is_storable(modified) else ""


def is_other(version: str, headers: Mapping[str, str]) -> bool:
    """Whether headers name another version; False where they do not say.

    `ETag`s are compared weakly (RFC 9110, 8.8.3.2): a copy that is as good is the same image.
    """
    known_date = _date(version)
    if known_date is not None:
        date = _date(headers.get("last-modified", ""))
        return date is not None and date != known_date
    etag = _opaque(headers.get("etag", ""))
    return etag not in {"", _opaque(version)}


def condition(version: str) -> dict[str, str]:
    """The headers of a request that wants a body only if there is another version."""
    if not _is_storable(version):
        return {}
    return {"If-None-Match" if _date(version) is None else "If-Modified-Since": version}


def _is_storable(version: str) -> bool:
    return len(version) <= MAX_VERSION_CHARS and version.isascii() and version.isprintable()


def _opaque(etag: str) -> str:
    """An `ETag` without what says that it is weak, and without its quotes."""
    return etag.strip().removeprefix("W/").strip('"')


def _date(text: str) -> datetime | None:
    if '"' in text:  # an ETag, whatever stands in it
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
