"""What is downloaded to its end and what is not: limits of size, and the first bytes."""

import gzip
import tracemalloc
import zlib

import httpx
import pytest
from aiohttp import web

from tests.adapters.fetching import BODY, endless, error_of, fetcher, hang, ok, serving, status
from vision_pipeline.adapters.fetch.body import read_image
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_decoding import open_image

HTML = b"<!doctype html><html><body>Please log in</body></html>"
PSD = b"8BPS" + bytes(2000)
VIDEO = b"\x00\x00\x00\x18ftypisom" + bytes(2000)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg">' + b"<path/>" * 300
PACKED = {"Content_Encoding": "gzip"}
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # of deflate, stored


async def error_for(answer, **settings):
    async with serving({"/a": [answer]}) as (_, base), fetcher(**settings) as fetching:
        return await error_of(fetching, f"{base}/a?signature=secret")


async def body_of(answer, **settings):
    async with serving({"/a": [answer]}) as (_, base), fetcher(**settings) as fetching:
        return (await fetching.fetch(f"{base}/a")).data


async def test_a_body_over_the_limit_is_cut_off():
    error = await error_for(endless(BODY, b"x" * 4096), max_bytes=10_000)
    assert error.code == ErrorCode.IMAGE_TOO_LARGE


async def test_a_body_of_exactly_the_limit_is_taken():
    assert await body_of(ok(), max_bytes=len(BODY)) == BODY


async def test_a_length_over_the_limit_is_refused_before_the_body():
    async def announce(request):
        response = web.StreamResponse(headers={"Content-Length": "10001"})
        await response.prepare(request)
        return await hang(request)

    error = await error_for(announce, max_bytes=10_000, timeout_s=5)
    assert error.code == ErrorCode.IMAGE_TOO_LARGE


async def test_a_packed_body_is_unpacked():
    assert await body_of(ok(gzip.compress(BODY), **PACKED), max_bytes=10_000) == BODY


async def test_a_packed_body_over_the_limit_is_cut_off():
    bomb = gzip.compress(BODY + bytes(1_000_000))
    error = await error_for(ok(bomb, **PACKED), max_bytes=10_000)
    assert error.code == ErrorCode.IMAGE_TOO_LARGE


async def test_a_packed_body_that_unpacks_to_nothing_for_ever_is_cut_off():
    answer = endless(gzip.compress(b"")[:10], EMPTY_BLOCK * 999, **PACKED)
    error = await error_for(answer, max_bytes=10_000)
    assert error.code == ErrorCode.IMAGE_TOO_LARGE


@pytest.mark.parametrize(("encoding", "body"), [("gzip", b"not packed"), ("br", b"x")])
async def test_a_body_in_no_known_encoding_is_unreadable(encoding, body):
    error = await error_for(ok(body, Content_Encoding=encoding))
    assert error.code == ErrorCode.UNREADABLE_IMAGE
    assert encoding in error.detail


@pytest.mark.parametrize(
    ("start", "detail"), [(HTML, "text/HTML, no image"), (b"\x00\x01\x02", "no known image format")]
)
@pytest.mark.parametrize("pack", [False, True])
async def test_what_begins_as_no_image_is_not_downloaded(start, detail, pack):
    body = start + b" and so on" * 1000
    more = b"x" * 4096
    if pack:
        packer = zlib.compressobj(wbits=31)
        body, more = packer.compress(body) + packer.flush(zlib.Z_SYNC_FLUSH), EMPTY_BLOCK * 999
    answer = endless(body, more, **(PACKED if pack else {}))
    error = await error_for(answer)
    assert error.code == ErrorCode.UNREADABLE_IMAGE
    assert detail in error.detail
    assert "secret" not in error.detail


@pytest.mark.parametrize("start", [PSD, VIDEO, SVG])
async def test_an_image_that_nothing_decodes_is_not_downloaded(start):
    """The row says the same as that of a file on disk."""
    error = await error_for(endless(start, b"x" * 4096))
    with pytest.raises(ItemError) as of_a_file:
        open_image(start, max_pixels=1)
    assert error.code == ErrorCode.UNSUPPORTED_FORMAT
    assert error.detail == of_a_file.value.detail


@pytest.mark.parametrize("body", [HTML, b'{"error": "no such image"}', b"", b"\x00"])
async def test_a_short_body_that_is_no_image_is_unreadable(body):
    assert (await error_for(ok(body))).code == ErrorCode.UNREADABLE_IMAGE


@pytest.mark.parametrize(
    "start",
    [
        b"\xff\xd8\xff\xe0",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"%PDF-1.7\n",
        b"\x00\x00\x00\x18ftypheic",
        b"\xff\x0a",
        b"P2 9 9\n",
    ],
)
@pytest.mark.parametrize("length", [0, 5000])
async def test_what_may_be_decoded_passes(start, length):
    body = start + b"1 " * length
    assert await body_of(ok(body)) == body


@pytest.mark.parametrize("piece_bytes", [1, 7, 10_000])
@pytest.mark.parametrize("behind", [b"", bytes(100), b"rubbish"])
async def test_a_body_in_several_gzip_members_is_unpacked_as_a_whole(piece_bytes, behind):
    packed = gzip.compress(BODY[:3000]) + gzip.compress(b"") + gzip.compress(BODY[3000:]) + behind
    pieces = [packed[at : at + piece_bytes] for at in range(0, len(packed), piece_bytes)]
    assert await read_image(arriving(*pieces, **PACKED), max_bytes=10_000) == BODY
    with pytest.raises(ItemError, match="max_source_bytes"):
        await read_image(arriving(*pieces, **PACKED), max_bytes=4_000)


@pytest.mark.parametrize("cut", [slice(0, 25), slice(0, -1), slice(0, -8)])
async def test_a_packed_body_that_is_cut_is_fetched_again(cut):
    packed = gzip.compress(BODY, mtime=0)
    answers = [ok(packed[cut], Content_Encoding="gzip"), ok(packed, Content_Encoding="gzip")]
    async with serving({"/a": answers}) as (_, base), fetcher() as fetching:
        assert (await fetching.fetch(f"{base}/a")).data == BODY


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_a_packed_body_whose_checksum_is_wrong_stays_a_missing_source(pack):
    packed = pack(BODY)[:-4] + bytes(4)
    error = await error_for(ok(packed, Content_Encoding="gzip"))
    assert error.code == ErrorCode.SOURCE_MISSING
    assert "damaged" in error.detail


async def test_a_part_that_nobody_asked_for_is_fetched_again():
    answers = [status(206, BODY[:2000], Content_Range="bytes 0-1999/5008"), ok()]
    async with serving({"/a": answers}) as (_, base), fetcher() as fetching:
        assert (await fetching.fetch(f"{base}/a")).data == BODY
    error = await error_for(answers[0])
    assert error.code == ErrorCode.SOURCE_MISSING
    assert "206" in error.detail


def arriving(*chunks, **headers):
    """A response whose body comes in these pieces."""

    async def body():
        for chunk in chunks:
            yield chunk

    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request("GET", "http://images.example/a")
    return httpx.Response(200, headers=sent, content=body(), request=request)


async def test_an_image_is_not_judged_before_enough_of_it_is_there():
    """The first bytes do not tell an image from text yet, and may come alone."""
    chunks = [BODY[at : at + 1] for at in range(12)]
    assert await read_image(arriving(*chunks, BODY[12:]), max_bytes=10_000) == BODY


async def test_a_bomb_is_not_unpacked_beyond_the_limit():
    bomb = gzip.compress(BODY + bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ItemError, match=r"max_source_bytes \(10000\)"):
            await read_image(arriving(bomb[:9_000], **PACKED), max_bytes=10_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5_000_000
