"""Which addresses count as public."""

import pytest

from vision_pipeline.core.addresses import (
    is_literal,
    is_local_name,
    is_public,
    is_reachable,
    without_credentials,
)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
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
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_where_a_cloud_gives_out_keys_is_never_reached(address):
    assert not is_reachable(address, allow_private=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "fd12::1", "100.64.0.1"])
def test_other_private_addresses_are_reached_where_that_is_allowed(address):
    assert is_reachable(address, allow_private=True)
    assert not is_reachable(address, allow_private=False)


def test_a_public_address_is_reached_and_text_that_is_none_is_left_to_the_client():
    assert is_reachable("8.8.8.8", allow_private=False)
    assert is_reachable("127.1", allow_private=True)


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
    "host", ["localhost", "LocalHost.", "images.localhost", "\uff4cocalhost", "a\u3002localhost"]
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
