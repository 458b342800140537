"""Metadata that a decoder would stumble over."""

import struct
import zlib
from io import BytesIO
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from vision_pipeline.core.decodable import decodable
from vision_pipeline.core.image_decoding import open_image
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.imaging import as_it_is, check, prepare

MEBIBYTE = 1024 * 1024


def encoded(kind, **options):
    written = BytesIO()
    Image.new("RGB", (60, 40), (200, 30, 30)).save(written, kind, **options)
    return written.getvalue()


def chunk(name, content):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(*chunks, behind=False):
    source = encoded("PNG")
    at = len(source) - 12 if behind else 33
    return source[:at] + b"".join(chunks) + source[at:]


def text(size, key=b"Comment"):
    return chunk(b"tEXt", key + b"\0" + b"a" * size)


def zipped(size, key=b"Comment"):
    return chunk(b"zTXt", key + b"\0\0" + zlib.compress(b"a" * size))


def international(size, key=b"Comment", *, is_compressed=True):
    content = zlib.compress(b"a" * size) if is_compressed else b"a" * size
    return chunk(b"iTXt", key + b"\0" + bytes([is_compressed, 0]) + b"en\0\0" + content)


def profile(size):
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(b"a" * size))


HEAVY = {
    "a zTXt": [zipped(3 * MEBIBYTE)],
    "an iTXt": [international(3 * MEBIBYTE)],
    "an XMP": [international(3 * MEBIBYTE, b"XML:com.adobe.xmp")],
    "a plain XMP": [international(3 * MEBIBYTE, b"XML:com.adobe.xmp", is_compressed=False)],
    "many texts": [zipped(MEBIBYTE, b"%d" % number) for number in range(70)],
    "a raw profile": [zipped(3 * MEBIBYTE, b"Raw profile type exif")],
    "a colour profile": [profile(2 * MEBIBYTE)],
    "a huge colour profile": [profile(20 * MEBIBYTE)],
    "a broken text": [chunk(b"zTXt", b"Raw profile type exif\0\0" + b"no zlib")],
    "texts of no key": [chunk(b"tEXt", b""), chunk(b"zTXt", b""), chunk(b"iTXt", b"")],
}


@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize("chunks", HEAVY.values(), ids=HEAVY)
@pytest.mark.parametrize("settings", [ImageSettings(), ImageSettings(max_side_px=30)])
def test_no_metadata_of_a_sound_png_is_heavy_enough_to_refuse_it(chunks, behind, settings):
    source = png(*chunks, behind=behind)
    assert prepare(source, settings).width_px == min(settings.max_side_px, 60)
    assert check(source, settings) == ""


def test_a_large_colour_profile_still_counts():
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    small, large = (
        png(chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(swapped) + bytes(more))))
        for more in (0, 2 * MEBIBYTE)
    )
    shown = [Image.open(BytesIO(prepare(each, ImageSettings()).data)) for each in (small, large)]
    assert shown[0].getpixel((9, 9))[1] > shown[0].getpixel((9, 9))[0]
    assert shown[0].tobytes() == shown[1].tobytes()


def test_of_many_colour_profiles_only_the_first_is_read():
    source = png(*[profile(MEBIBYTE // 2)] * 500)
    assert decodable(source, "PNG").data == png(profile(MEBIBYTE // 2))


def test_an_orientation_in_a_text_of_a_png_still_counts():
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    content = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)
    source = png(text(9), chunk(b"iTXt", content), zipped(9))
    assert prepare(source, ImageSettings()).width_px == 40


def exif_segments(count, size=60_000):
    body = b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\0" + bytes(size)
    return (b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body) * count


def test_of_many_exif_segments_of_a_jpeg_only_the_first_are_read():
    source = encoded("JPEG")
    many = source[:2] + exif_segments(500) + b"\xff" + source[2:]
    read = decodable(many, "JPEG").data
    assert read == source[:2] + exif_segments(8) + b"\xff" + source[2:]
    assert as_it_is(many, ImageSettings(max_source_bytes=10**9, max_sent_bytes=10**9)) is not None
    opened = open_image(many, max_pixels=10_000)
    assert len(opened.image.info["exif"]) < 8 * 65536
    assert opened.source == many


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_file_with_ordinary_metadata_is_read_as_it_is(kind):
    exif = Image.Exif()
    exif[274] = 6
    source = encoded(kind, exif=exif)
    assert decodable(source, kind).data is source


@given(st.binary(max_size=300), st.sampled_from(["JPEG", "PNG"]), st.integers(0, 2**32))
def test_any_bytes_are_followed_to_their_end(data, kind, seed):
    start = encoded(kind)[: Random(seed).randrange(60)]
    assert len(decodable(start + data, kind).data) <= len(start + data)
