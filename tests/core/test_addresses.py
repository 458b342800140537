"""Which addresses count as public."""

import ipaddress

import pytest

from vision_pipeline.core.addresses import (
    is_literal,
    is_local_name,
    is_reachable,
    without_credentials,
)

# Both of IANA's special-purpose registries, IPv4-compatible and site-local addresses, multicast.
SPECIAL = """
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32
    192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16
    192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32
    224.0.0.0/4 192.0.0.192/32 168.63.129.16/32
    ::1/128 ::/128 ::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32
    2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48
    2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2620:4f:8000::/48 3fff::/20 5f00::/16
    fc00::/7 fe80::/10 fec0::/10 ff00::/8
"""


def is_public(address):
    return is_reachable(address, allow_private=False)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "93.184.216.34",
        "192.0.1.1",
        "2606:4700::1111",
        "2001:200::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_public_addresses_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        "2001::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "localhost",
        "",
    ],
)
def test_other_addresses_are_not(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "network", [ipaddress.ip_network(each) for each in SPECIAL.split()], ids=str
)
def test_no_special_range_is_public_from_its_first_address_to_its_last(network):
    assert not is_public(str(network[0]))
    assert not is_public(str(network[-1]))
    if network.version == 4:
        assert not is_public(f"::ffff:{network[-1]}")
        assert not is_public(str(ipaddress.IPv6Address((0x2002 << 112) + (int(network[0]) << 80))))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "192.0.0.192",
        "100.100.100.200",
        "168.63.129.16",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:42::42",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b:1::a9fe:a9fe",
        "2852039166",
        "",
    ],
)
def test_what_tells_a_cloud_machine_its_secrets_is_never_reachable(address):
    assert not is_reachable(address, allow_private=True)
    assert not is_public(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "fd00::1", "::1", "8.8.8.8"])
def test_all_other_addresses_are_reachable_where_private_ones_are_allowed(address):
    assert is_reachable(address, allow_private=True)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "1.0x7f",
        "::1",
        "1.",
        "127\u30020\u30020\u30021",
        "a\uff611",
        "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
        "\uff10\uff5817f000001",
    ],
)
def test_numbers_in_any_spelling_are_literals(host):
    assert is_literal(host)


@pytest.mark.parametrize(
    "host", ["example.org", "1and1.com", "0x.example", "a1", "xn--bcher-kva.de"]
)
def test_names_are_not_literals(host):
    assert not is_literal(host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost.",
        "images.localhost",
        "\uff4cocalhost",
        "\u24dbocalhost",
        "a\u3002localhost",
        "localhost.localdomain",
        "localhost6.localdomain6",
        "ip6-localhost",
        "ip6-loopback",
    ],
)
def test_names_that_always_mean_this_machine_are_local(host):
    assert is_local_name(host)


@pytest.mark.parametrize("host", ["localhost.example", "notlocalhost", "example.org", "", "."])
def test_other_names_are_not_local(host):
    assert not is_local_name(host)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@example.org/a@b.png", "https://***@example.org/a@b.png"),
        ("HTTP://me@example.org", "HTTP://***@example.org"),
        ("see sftp://u:p@h/a and ftp://h/b", "see sftp://***@h/a and ftp://h/b"),
        ("https://example.org/a?mail=x@y", "https://example.org/a?mail=x@y"),
        ("tar://a@2x.png::/data/x.tar", "tar://a@2x.png::/data/x.tar"),
        ("/data/a@b.png", "/data/a@b.png"),
    ],
)
def test_credentials_in_urls_are_masked(text, shown):
    assert without_credentials(text) == shown
