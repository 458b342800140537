"""Which internet addresses are public, so that a URL in a manifest may reach them."""

from __future__ import annotations

import ipaddress
import re
import unicodedata

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out (RFC 4291)
_TEREDO = ipaddress.IPv6Network("2001::/32")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")  # RFC 9637; the standard library learns it late
# Beside the link-local ones: Amazon, Google and Alibaba, by their documentation.
_METADATA = tuple(
    ipaddress.ip_network(each) for each in ("fd00:ec2::/32", "fd20:ce::/32", "100.100.100.200/32")
)
_CREDENTIALS = re.compile(
    r"(\b(?:https?|ftps?|sftp|ssh|smb|webdavs?)://)[^/?#@\s]*@", re.IGNORECASE
)
_LAST_LABEL_IS_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$")


def is_public(address: str) -> bool:
    """Whether an IP address, as text, is one that anybody on the internet could reach.

    Loopback, private, link-local (with it the cloud's metadata service), carrier-grade NAT,
    multicast, reserved and documentation ranges are not, nor is IPv6 that carries one of them.
    Text that is no address is not public either.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_public_v4(parsed)
    carried = _carried_v4(parsed)
    if carried is not None:
        return _is_public_v4(carried)
    if parsed in _TEREDO or parsed in _DOCUMENTATION:
        return False
    return parsed in _GLOBAL_UNICAST and parsed.is_global


def is_reachable(address: str, *, allow_private: bool) -> bool:
    """Whether a URL in a manifest may lead to an IP address, given as text.

    Args:
        address: Where the request would go.
        allow_private: Whether addresses that are not public are allowed. Those where clouds give
            out keys to whoever asks, and the rest of the link-local ones, are not even then.
    """
    return is_public(address) or (allow_private and not _gives_out_keys(address))


def is_literal(host: str) -> bool:
    """Whether a URL's host is an address and not a name, in canonical form or an odd one.

    Decimal, octal, hexadecimal and shortened IPv4 (`2130706433`, `0177.0.0.1`, `127.1`) count, in
    whatever digits and dots Unicode has: a name never ends in a number (URL Standard, "ends in a
    number").
    """
    return ":" in host or _LAST_LABEL_IS_NUMBER.search(_plain(host)) is not None


def is_local_name(host: str) -> bool:
    """Whether a URL's host is a name that always means this machine (RFC 6761, 6.3)."""
    labels = _plain(host).lower().removesuffix(".").split(".")
    return labels[-1] == "localhost"


def without_credentials(text: str) -> str:
    """URLs in a text with `***` for a user and password that stand in them."""
    return _CREDENTIALS.sub(r"\1***@", text)


def _plain(host: str) -> str:
    """A host with Unicode's variants of letters, digits and dots made plain (UTS #46, 4)."""
    return unicodedata.normalize("NFKC", host).replace("\u3002", ".")


def _gives_out_keys(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = _carried_v4(parsed) or parsed
    return parsed.is_link_local or any(parsed in network for network in _METADATA)


def _carried_v4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_public_v4(address: ipaddress.IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved
