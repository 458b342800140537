"""Which URLs may be asked at all, judged before any name is resolved."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import httpx
import yarl

from vision_pipeline.core.addresses import is_literal, is_local_name, is_reachable
from vision_pipeline.core.errors import ErrorCode, ItemError

ALLOWING = "source.allow_private_urls: true fetches from it"
NEVER = "is link-local, a cloud's metadata service or in no canonical form: never fetched from"

_A_LABEL = "xn--"  # what Unicode names are called on the wire


def checked(url: str, *, allow_private: bool) -> httpx.URL:
    """The URL, if its scheme, credentials and host let it be asked.

    A host that is a name still has to be resolved to a public address.

    Raises:
        ItemError: `blocked_url` for other schemes than http and https, for credentials, for a
            host that is no public address, and whatever `allow_private` says for one that is
            link-local, a metadata service, or in no canonical form; `source_missing` for what is
            no URL.
    """
    parsed, reached, host = _parsed(url)
    if parsed.scheme not in {"http", "https"} or reached.scheme != parsed.scheme:
        raise blocked(f"{parsed.scheme or 'no scheme'}: is not fetched, only http and https")
    if parsed.userinfo or reached.user or reached.password:
        raise blocked("the URL carries credentials")
    if not host:
        raise no_url()
    _check_host(host, allow_private=allow_private)
    return parsed


def redirected(url: httpx.URL, location: str, *, allow_private: bool) -> httpx.URL:
    """The URL that the answer from `url` points to, checked as any other.

    Raises:
        ItemError: As `checked` does.
    """
    try:
        return checked(_joined(url, location), allow_private=allow_private)
    except ItemError as error:
        detail = f"{shown(str(url))} redirects elsewhere: {error.detail}"
        raise ItemError(error.code, detail) from error


def origin(url: httpx.URL) -> str:
    """Scheme, host and port of a checked URL."""
    return str(yarl.URL(str(url)).origin())


def shown(url: str) -> str:
    """A URL for messages: without credentials and without its query, which may be a signature."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def blocked(detail: str) -> ItemError:
    """The error for an address that may not be reached."""
    return ItemError(ErrorCode.BLOCKED_URL, detail)


def no_url() -> ItemError:
    """The error for what cannot be read as a URL; it may hold a secret anywhere, so none of it."""
    return ItemError(ErrorCode.SOURCE_MISSING, "no valid http or https URL")


def _check_host(host: str, *, allow_private: bool) -> None:
    if not is_literal(host):
        is_open = allow_private or not is_local_name(host)
    elif is_reachable(host, allow_private=True):
        is_open = is_reachable(host, allow_private=allow_private)
    else:
        raise blocked(f"{host} {NEVER}")
    if not is_open:
        raise blocked(f"{host} is not a public address ({ALLOWING})")


def _parsed(url: str) -> tuple[httpx.URL, yarl.URL, str | None]:
    """The URL as httpx reads it, and as aiohttp, which connects, hears it from httpx; its host."""
    try:
        parsed = httpx.URL(url)
        reached = yarl.URL(str(parsed))
        host = reached.host  # where an xn-- name is decoded
    except (httpx.InvalidURL, ValueError) as error:
        if _is_disguised(_host(url)):
            raise blocked("the host is no canonical address or name") from error
        raise no_url() from error
    return parsed, reached, host


def _is_disguised(host: str) -> bool:
    """Whether what no client takes for a host might lead somewhere all the same: 0177.0.0.1."""
    return is_literal(host) or is_local_name(host) or _A_LABEL in host.lower()


def _joined(url: httpx.URL, location: str) -> str:
    try:
        return urljoin(str(url), location)
    except ValueError as error:
        raise no_url() from error


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
