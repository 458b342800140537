"""URLs that try to reach what is not public. Every test watches whom anybody connects to."""

import pytest

from tests.adapters.fetching import (
    BODY,
    PUBLIC,
    Naps,
    answering,
    closed_fetcher,
    error_of,
    fetcher,
    ok,
    serving,
    status,
    wired,
)
from vision_pipeline.adapters.fetch.resolving import (
    BlockedAddressError,
    PublicResolver,
    resolve_by_system,
)
from vision_pipeline.core.errors import ErrorCode

LITERALS = [
    "127.0.0.1",
    "127.0.0.1:8080",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104
    "0.0.0.1",
    "0",
    "224.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001::1]",
    "2130706433",
    "0177.0.0.1",
    "0177.1",
    "017700000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0X7F000001",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "2130706433.",
    "127\u30020\u30020\u30021",
    "127\uff0e0\uff0e0\uff0e1",
    "127\uff610\uff610\uff611",
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "images.localhost",
    "ip6-localhost",
    "localhost.localdomain",
    "\u24dbocalhost",
    "xn--",
    "xn--a",
    "192.0.0.192",
    "168.63.129.16",
]
NEVER = [
    "169.254.169.254",
    "192.0.0.192",
    "168.63.129.16",
    "[fe80::1%25lo]",
    "[fd00:ec2::254]",
    "[::ffff:169.254.169.254]",
    "2852039166",
    "0xa9fea9fe",
    "169.254.169.254.",
    "169.16689662",
]
REDIRECTS = [
    "http://127.0.0.1/",
    "//127.0.0.1/",
    "//127.0.0.1:8080/a",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "http://[::1]/",
    "http://[::ffff:7f00:1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://localhost/",
    "https://127.0.0.1/",
    "http://user:pass@images.example/b",
    "//user:pass@images.example/b",
    "http://images.example\\@127.0.0.1/",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "ftp:",
    "ftp://images.example/a",
    "gopher:",
    "gopher://127.0.0.1:25/_HELO",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
]


@pytest.fixture
async def wire(monkeypatch):
    async with wired(monkeypatch) as wire:
        yield wire


async def refused(fetching, wire, url):
    """The URL is blocked, by a fetch as by a check, and nobody was connected to."""
    before = list(wire.reached)
    error = await error_of(fetching, url)
    assert error.code == ErrorCode.BLOCKED_URL
    assert not await fetching.is_changed(url, '"a"')
    assert wire.reached == before
    return error


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", LITERALS)
async def test_an_address_that_is_not_public_is_blocked_in_any_spelling(wire, scheme, host):
    naps = Naps()
    resolve = answering(["127.0.0.1"])
    async with closed_fetcher(resolve, naps) as fetching:
        await refused(fetching, wire, f"{scheme}://{host}/a.png")
    assert (resolve.asked, naps.taken) == ([], [])


@pytest.mark.parametrize(
    "url",
    [
        "http://user:pass@images.example/a",
        "http://user@images.example/a",
        "http://:pass@images.example/a",
        "http://images.example\\@127.0.0.1/a",
        "http://images.example@127.0.0.1/a",
        "ftp://images.example/a",
        "file:///etc/passwd",
        "gopher://images.example/a",
        "//127.0.0.1/a",
        "/etc/passwd",
    ],
)
async def test_other_schemes_and_credentials_are_blocked(wire, url):
    async with closed_fetcher() as fetching:
        error = await refused(fetching, wire, url)
    assert "pass" not in error.detail


@pytest.mark.parametrize("private", ["127.0.0.1", "10.0.0.7", "::1", "fd00::1", "::ffff:7f00:1"])
async def test_a_name_that_leads_to_a_private_address_is_blocked(wire, private):
    async with closed_fetcher(answering([private, "169.254.169.254"])) as fetching:
        await refused(fetching, wire, "http://images.example/a")


async def test_what_the_system_says_of_a_name_is_checked():
    resolver = PublicResolver(resolve_by_system, allow_private=False)
    with pytest.raises(BlockedAddressError, match="localhost"):
        await resolver.resolve("localhost", 80)


async def test_only_the_public_address_of_a_mixed_answer_is_reached(wire):
    resolve = answering(["10.0.0.7", PUBLIC, "127.0.0.1", "::1"])
    async with serving({"/a": [ok()]}) as (_, base), closed_fetcher(resolve) as fetching:
        wire.lead(PUBLIC, base)
        assert (await fetching.fetch("http://images.example/a")).data == BODY
    assert wire.reached == [PUBLIC]


async def test_a_public_address_that_does_not_answer_is_not_replaced_by_a_private_one(wire):
    resolve = answering([PUBLIC, "127.0.0.1"])
    async with closed_fetcher(resolve, backoffs_s=()) as fetching:
        error = await error_of(fetching, "http://images.example/a")
    assert error.code == ErrorCode.SOURCE_MISSING
    assert wire.reached == [PUBLIC]


async def test_the_address_that_was_checked_is_the_one_that_is_reached(wire):
    """The name answers differently from the second time on; a first answer is not asked twice."""
    resolve = answering([PUBLIC], ["127.0.0.1"])
    async with serving({"/a": [ok()]}) as (_, base), closed_fetcher(resolve) as fetching:
        wire.lead(PUBLIC, base)
        assert (await fetching.fetch("http://images.example/a")).data == BODY
        assert (wire.reached, resolve.asked) == ([PUBLIC], ["images.example"])
        await refused(fetching, wire, "http://images.example:8080/a")
    assert wire.reached == [PUBLIC]


@pytest.mark.parametrize("location", REDIRECTS)
async def test_a_redirect_to_what_may_not_be_reached_is_blocked(wire, location):
    script = {"/a": [status(302, Location=location)]}
    async with serving(script) as (site, base), closed_fetcher() as fetching:
        wire.lead(PUBLIC, base)
        error = await error_of(fetching, "http://images.example/a?signature=secret")
        assert not await fetching.is_changed("http://images.example/a", '"a"')
    assert error.code == ErrorCode.BLOCKED_URL
    assert "http://images.example/a redirects" in error.detail
    assert "pass" not in error.detail
    assert "secret" not in error.detail
    assert set(wire.reached) == {PUBLIC}
    assert site.methods == ["GET", "HEAD"]


async def test_a_redirect_to_a_name_with_a_private_address_is_blocked(wire):
    resolve = answering([PUBLIC], ["127.0.0.1"])
    script = {"/a": [status(302, Location="http://internal.example/a")]}
    async with serving(script) as (site, base), closed_fetcher(resolve) as fetching:
        wire.lead(PUBLIC, base)
        error = await error_of(fetching, "http://images.example/a")
    assert error.code == ErrorCode.BLOCKED_URL
    assert resolve.asked == ["images.example", "internal.example"]
    assert wire.reached == [PUBLIC]
    assert len(site.asked) == 1


async def test_a_redirect_to_another_public_host_is_followed(wire):
    """What the other tests call blocked is not blocked for being a redirect."""
    script = {"/a": [status(302, Location="//other.example/b")], "/b": [ok()]}
    async with serving(script) as (_, base), closed_fetcher() as fetching:
        wire.lead(PUBLIC, base)
        assert (await fetching.fetch("http://images.example/a")).data == BODY
    assert wire.reached == [PUBLIC, PUBLIC]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_proxy_in_the_environment_is_not_used(wire, monkeypatch, name):
    async with serving({"/a": [ok()]}) as (_, base), closed_fetcher() as fetching:
        monkeypatch.setenv(name, base)
        wire.lead(PUBLIC, base)
        wire.lead("127.0.0.1", base)
        assert (await fetching.fetch("http://images.example/a")).data == BODY
        assert not await fetching.is_changed("http://images.example/a", '"a"')
    assert set(wire.reached) == {PUBLIC}


@pytest.mark.parametrize("host", NEVER)
async def test_a_metadata_service_is_blocked_even_where_private_addresses_are_allowed(wire, host):
    async with fetcher() as fetching:
        error = await refused(fetching, wire, f"http://{host}/latest/meta-data/")
    assert "allow_private_urls" not in error.detail


async def test_a_name_of_a_metadata_service_is_blocked_where_private_addresses_are_allowed(wire):
    resolve = answering(["169.254.169.254", "fd00:ec2::254"])
    async with fetcher(resolve=resolve) as fetching:
        await refused(fetching, wire, "http://metadata.example/a")


async def test_a_redirect_to_a_metadata_service_is_blocked_where_private_ones_are_allowed(wire):
    script = {"/a": [status(302, Location="http://169.254.169.254/latest/meta-data/")]}
    async with serving(script) as (_, base), fetcher() as fetching:
        wire.lead("127.0.0.1", base)
        error = await error_of(fetching, f"{base}/a")
    assert error.code == ErrorCode.BLOCKED_URL
    assert wire.reached == ["127.0.0.1"]


async def test_a_private_address_is_reached_where_it_is_allowed(wire):
    async with serving({"/a": [ok()]}) as (_, base), fetcher() as fetching:
        wire.lead("127.0.0.1", base)
        assert (await fetching.fetch(f"{base}/a")).data == BODY
    assert wire.reached == ["127.0.0.1"]
