"""Names of images inside containers, and what they may lead to."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.members import (
    Member,
    damaged_from,
    is_damaged,
    leads_home,
    parse_member,
    readable,
)

CONTAINERS = ["/data/a b.tar", "s3://bucket/x.zip", "file:///x/caf%E9.zip", "memory://a.parquet"]


@given(st.sampled_from(["tar", "zip", "parquet"]), st.text(min_size=1), st.sampled_from(CONTAINERS))
def test_a_uri_gives_back_the_member_that_it_names_whatever_its_name(scheme, name, container):
    member = Member(scheme, name, container)
    if not name.endswith(":"):  # three colons in a row could be told apart in two ways
        assert parse_member(member.uri) == member


def test_the_scheme_is_written_in_any_case():
    assert parse_member("TAR://a::/b") == Member("tar", "a", "/b")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "a.png",
        "/a::b/c.png",
        "tar://a.png",
        "tar://::/b",
        "tar://a::",
        "s3://a::/b",
        "tar:a::b",
    ],
)
def test_what_names_no_member_is_none(uri):
    assert parse_member(uri) is None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a%41.png", "a%41.png"),
        ("é😀\n.png".encode(), "é😀\n.png"),
        (b"caf\xe9 100%.png", "caf%E9 100%25.png"),
    ],
)
def test_names_that_are_no_utf8_become_text_and_others_stay(raw, text):
    assert readable(os.fsdecode(raw)) == text


@given(st.binary())
def test_every_name_becomes_text_that_stays(raw):
    text = readable(raw.decode(errors="surrogateescape"))
    text.encode()
    assert readable(text) == text


@pytest.mark.parametrize(
    ("scheme", "location", "is_safe"),
    [
        (None, "/a::b/c", True),
        ("file", "file:///a", True),
        ("s3", "s3://b/a", True),
        ("s3", "s3://b/a::http://127.0.0.1/", False),
        ("memory", "memory://a", True),
        ("http", "http://host/a", False),
        ("sftp", "sftp://host/a", False),
        ("simplecache", "simplecache::s3://a", False),
    ],
)
def test_only_files_and_stores_lead_home(scheme, location, is_safe):
    assert leads_home(scheme, location) == is_safe


def test_what_stands_for_damage_is_told_from_other_names():
    assert is_damaged(damaged_from("byte 512"))
    assert not is_damaged("512")
