"""Which internet addresses are public, so that a URL in a manifest may reach them."""

from __future__ import annotations

import ipaddress
import re
import unicodedata

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(text: str) -> tuple[_Network, ...]:
    return tuple(map(ipaddress.ip_network, text.split()))


# All of IANA's special-purpose registries, and multicast. Written out, since what the standard
# library's `is_global` holds differs between patch releases. Some of these are called globally
# reachable (anycast of AS112, PCP, TURN), but lead to whatever router is next, and to no images.
_SPECIAL_V4 = _networks("""
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24
    198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
""")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out (RFC 4291)
# The special ranges within it; all others lie without.
_SPECIAL_V6 = _networks("2001::/23 2001:db8::/32 2620:4f:8000::/48 3fff::/20")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address

# Where a machine of a cloud is told its secrets. Link-local is among them as a whole; the others
# are those of Oracle, Alibaba, Azure (a public address by its number), AWS, Google and Scaleway.
_METADATA = _networks("""
    169.254.0.0/16 192.0.0.192/32 100.100.100.200/32 168.63.129.16/32
    fe80::/10 fd00:ec2::/32 fd20:ce::/32 fd00:42::42/128
""")

_CREDENTIALS = re.compile(
    r"(\b(?:https?|ftps?|sftp|ssh|smb|webdavs?)://)[^/?#@\s]*@", re.IGNORECASE
)
_LAST_LABEL_IS_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$")
# Of RFC 6761, 6.3, and what systems write into their own hosts file.
_LOCAL_NAMES = """
    localhost localdomain localhost4 localhost6 localdomain4 localdomain6 ip6-localhost ip6-loopback
"""
_LOCAL_DOMAINS = frozenset(_LOCAL_NAMES.split())


def is_reachable(address: str, *, allow_private: bool) -> bool:
    """Whether a URL in a manifest may lead to an IP address, given as text.

    Loopback, private, carrier-grade NAT, multicast, reserved and documentation ranges are not
    public, nor is IPv6 that carries one of them.

    Args:
        address: Where the request would go; text that is no address leads nowhere.
        allow_private: Whether addresses that are not public are allowed. Those where clouds give
            out keys to whoever asks, and the rest of the link-local ones, are not even then.
    """
    parsed = _parsed(address)
    if parsed is None or _gives_out_keys(parsed):
        return False
    if allow_private:
        return True
    if isinstance(parsed, ipaddress.IPv4Address):
        return not _is_within(parsed, _SPECIAL_V4)
    return parsed in _GLOBAL_UNICAST and not _is_within(parsed, _SPECIAL_V6)


def is_literal(host: str) -> bool:
    """Whether a URL's host is an address and not a name, in canonical form or an odd one.

    Decimal, octal, hexadecimal and shortened IPv4 (`2130706433`, `0177.0.0.1`, `127.1`) count, in
    whatever digits and dots Unicode has: a name never ends in a number (URL Standard, "ends in a
    number").
    """
    return ":" in host or _LAST_LABEL_IS_NUMBER.search(_plain(host)) is not None


def is_local_name(host: str) -> bool:
    """Whether a URL's host is a name that means this machine: `localhost` and its relatives."""
    labels = _plain(host).lower().removesuffix(".").split(".")
    return labels[-1] in _LOCAL_DOMAINS


def without_credentials(text: str) -> str:
    """URLs in a text with `***` for a user and password that stand in them."""
    return _CREDENTIALS.sub(r"\1***@", text)


def _plain(host: str) -> str:
    """A host with Unicode's variants of letters, digits and dots made plain (UTS #46, 4)."""
    return unicodedata.normalize("NFKC", host).replace("\u3002", ".")


def _parsed(address: str) -> _Address | None:
    """The address, or the IPv4 address that it carries; None for what is no address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed
    if parsed in _NAT64:
        return _last_v4(parsed)
    return parsed.ipv4_mapped or parsed.sixtofour or parsed


def _gives_out_keys(address: _Address) -> bool:
    if _is_within(address, _METADATA):
        return True
    if isinstance(address, ipaddress.IPv4Address) or address in _GLOBAL_UNICAST:
        return False
    # Networks translate by prefixes of their own choice, too.
    return _is_within(_last_v4(address), _METADATA)


def _last_v4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _is_within(address: _Address, networks: tuple[_Network, ...]) -> bool:
    return any(address in network for network in networks)
