"""Whether an image behind a URL is another than the one that is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.fetching import (
    Naps,
    by_method,
    closed_fetcher,
    drop,
    endless,
    error_of,
    fetcher,
    hang,
    ok,
    serving,
    status,
)
from vision_pipeline.adapters.fetch.versions import condition, is_other, version_of

OLD, NEW = "Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 22 Oct 2015 07:28:00 GMT"
ASCTIME_OF_OLD = "Wed Oct 21 07:28:00 2015"


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"etag": '"a1"', "last-modified": OLD}, '"a1"'),
        ({"etag": 'W/"a1"'}, 'W/"a1"'),
        ({"etag": "unquoted"}, "unquoted"),
        ({"last-modified": OLD}, OLD),
        ({"etag": '""', "last-modified": OLD}, OLD),
        ({"etag": OLD, "last-modified": NEW}, NEW),
        ({"etag": f'"{"x" * 199}"', "last-modified": OLD}, OLD),
        ({"etag": f'"{"x" * 198}"'}, f'"{"x" * 198}"'),
        ({"etag": '"a\x01b"', "last-modified": OLD}, OLD),
        ({"etag": '"\u00e9"'}, ""),
        ({"last-modified": "yesterday"}, ""),
        ({}, ""),
    ],
)
def test_the_version_is_the_etag_or_else_the_time_of_change(headers, version):
    assert version_of(headers) == version


@pytest.mark.parametrize(
    ("known", "headers"),
    [
        ('"a"', {"etag": '"b"'}),
        ('W/"a"', {"etag": 'W/"b"'}),
        ('"a"', {"etag": '"b"', "last-modified": OLD}),
        (OLD, {"last-modified": NEW}),
        (NEW, {"last-modified": OLD, "etag": '"a"'}),
        (f'"{OLD}"', {"etag": '"b"', "last-modified": OLD}),
    ],
)
def test_another_version_is_told(known, headers):
    assert is_other(known, headers)


@pytest.mark.parametrize(
    ("known", "headers"),
    [
        ('"a"', {"etag": '"a"'}),
        ('"a"', {"etag": 'W/"a"'}),
        ('W/"a"', {"etag": '"a"', "last-modified": NEW}),
        ('"a"', {"last-modified": NEW}),
        ('"a"', {"etag": ""}),
        ('"a"', {}),
        (OLD, {"last-modified": ASCTIME_OF_OLD}),
        (OLD, {"etag": '"a"'}),
        (OLD, {"etag": '"a"', "last-modified": OLD}),
        (OLD, {"last-modified": "yesterday"}),
        (OLD, {}),
    ],
)
def test_the_same_version_or_none_is_no_other(known, headers):
    assert not is_other(known, headers)


header = st.text(max_size=20) | st.sampled_from([OLD, NEW, ASCTIME_OF_OLD, f'"{OLD}"', "x" * 250])


@given(st.fixed_dictionaries({}, optional={"etag": header, "last-modified": header}))
def test_headers_never_differ_from_the_version_that_was_taken_from_them(headers):
    version = version_of(headers)
    assert not version or not is_other(version, headers)
    assert len(version) <= 200
    assert version.isprintable()


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ('W/"a"', {"If-None-Match": 'W/"a"'}),
        (OLD, {"If-Modified-Since": OLD}),
        ('"a"\r\nCookie: x', {}),
        ("\u00e9", {}),
    ],
)
def test_a_condition_holds_the_known_version_and_nothing_else(version, headers):
    assert condition(version) == headers


# --- asked of a server


async def is_changed(answers, version='"a"', **settings):
    async with serving({"/a": answers}) as (site, base), fetcher(**settings) as fetching:
        return await fetching.is_changed(f"{base}/a", version), site.methods


async def test_an_image_brings_its_version():
    script = {
        "/a": [status(302, Location="/b", ETag='"of the redirect"')],
        "/b": [ok(ETag='W/"a"', Last_Modified=OLD)],
        "/c": [ok(Last_Modified=OLD)],
        "/d": [ok()],
    }
    async with serving(script) as (_, base), fetcher() as fetching:
        versions = [(await fetching.fetch(f"{base}/{path}")).version for path in "acd"]
    assert versions == ['W/"a"', OLD, ""]


async def test_what_is_no_image_brings_its_version_too():
    async with serving({"/a": [ok(b"<html>", ETag='"a"')]}) as (_, base), fetcher() as fetching:
        error = await error_of(fetching, f"{base}/a")
    assert (error.code, error.version) == ("unreadable_image", '"a"')


@pytest.mark.parametrize(
    ("answer", "version", "changed"),
    [
        (ok(ETag='"a"'), '"a"', False),
        (ok(ETag='W/"a"'), '"a"', False),
        (ok(ETag='"b"'), '"a"', True),
        (ok(Last_Modified=NEW), OLD, True),
        (ok(Last_Modified=OLD), OLD, False),
        (ok(), '"a"', False),
        (status(404), '"a"', True),
        (status(410), '"a"', True),
        (status(401, ETag='"b"'), '"a"', False),
        (status(304), '"a"', False),
    ],
)
async def test_one_question_without_a_body_tells_whether_an_image_changed(answer, version, changed):
    assert await is_changed([answer], version) == (changed, ["HEAD"])


async def test_an_image_without_a_known_version_is_not_asked_for():
    assert await is_changed([ok(ETag='"b"')], "") == (False, [])


async def test_the_server_at_the_end_of_the_redirects_tells():
    script = {"/a": [status(302, Location="/b", ETag='"a"')], "/b": [ok(ETag='"b"')]}
    async with serving(script) as (site, base), fetcher() as fetching:
        assert await fetching.is_changed(f"{base}/a", '"a"')
    assert site.methods == ["HEAD", "HEAD"]


@pytest.mark.parametrize("number", [403, 405, 501])
@pytest.mark.parametrize(
    ("reply", "changed"),
    [
        (status(304), False),
        (endless(b"", b"x" * 4096, ETag='"a"'), False),
        (endless(b"", b"x" * 4096, ETag='"b"'), True),
        (status(404), True),
        (status(403), False),
        (status(405), False),
    ],
)
async def test_a_server_without_head_is_asked_under_a_condition(number, reply, changed):
    """The body is endless: whoever reads it does not come back."""
    async with (
        serving({"/a": [by_method(HEAD=status(number), GET=reply)]}) as (site, base),
        fetcher() as fetching,
    ):
        assert await fetching.is_changed(f"{base}/a", '"a"') is changed
    assert site.methods == ["HEAD", "GET"]
    assert site.asked[1].headers["If-None-Match"] == '"a"'


@pytest.mark.parametrize("bad", [status(500), status(503), status(429), drop])
async def test_a_broken_answer_is_asked_for_once_more(bad):
    changed, methods = await is_changed([bad, ok(ETag='"b"')])
    assert changed
    assert set(methods) == {"HEAD"}


@pytest.mark.parametrize("bad", [status(500), status(503), status(429)])
async def test_a_server_that_keeps_failing_says_nothing(bad):
    assert await is_changed([bad]) == (False, ["HEAD", "HEAD"])


async def test_a_silent_server_says_nothing_and_is_left_alone():
    assert await is_changed([hang], timeout_s=0.05) == (False, ["HEAD"])


async def test_questions_keep_to_the_pauses_of_their_host():
    naps = Naps()
    script = {"/a": [status(429, Retry_After="10"), ok(ETag='"b"')]}
    async with serving(script) as (_, base), fetcher(naps) as fetching:
        assert await fetching.is_changed(f"{base}/a", '"a"')
    assert naps.taken == [0.5, 9.5]


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://127.0.0.1/a",
        "http://images.example:70000/",
        "file:///etc/passwd",
        "http://user:pass@images.example/",
        "http://" + "a" * 300 + "/",
        "",
    ],
)
async def test_a_url_that_cannot_be_asked_is_no_change(url):
    async with closed_fetcher() as fetching:
        assert not await fetching.is_changed(url, '"a"')


async def test_a_circle_of_redirects_is_no_change():
    changed, methods = await is_changed([status(302, Location="/a")])
    assert not changed
    assert methods == ["HEAD"] * 6
