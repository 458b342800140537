"""Cutting metadata out of containers."""

import struct
from io import BytesIO
from random import Random

import pytest
from PIL import Image, PngImagePlugin

from vision_pipeline.core.metadata import without_metadata


def encoded(kind, **options):
    image = Image.frombytes("L", (40, 30), Random(1).randbytes(40 * 30))
    written = BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def exif():
    found = Image.Exif()
    found[0x010E] = "secret description"
    found.get_ifd(0x8825)[1] = "N"
    return found


def segment(marker, body):
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def same_pixels(one, other):
    first, second = (Image.open(BytesIO(each)).convert("RGB") for each in (one, other))
    return first.tobytes() == second.tobytes()


def png_with_text():
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "secret")
    text.add_text("Zipped", "secret", zip=True)
    text.add_itxt("XML:com.adobe.xmp", "secret")
    return encoded("PNG", pnginfo=text, exif=exif(), dpi=(300, 300))


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("JPEG", encoded("JPEG", exif=exif(), comment=b"secret", xmp=b"secret", dpi=(300, 300))),
        ("JPEG", encoded("JPEG", exif=exif(), progressive=True)),
        ("MPO", encoded("JPEG") + encoded("JPEG")),
        ("PNG", png_with_text()),
        ("WEBP", encoded("WEBP", exif=exif(), xmp=b"secret")),
        ("GIF", encoded("GIF", comment=b"secret")),
    ],
)
def test_metadata_goes_and_pixels_stay(kind, source):
    bare = without_metadata(source, kind)
    assert len(bare) < len(source)
    assert b"secret" not in bare
    assert not Image.open(BytesIO(bare)).getexif()
    assert same_pixels(bare, source)
    assert without_metadata(bare, kind) == bare


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_file_without_metadata_stays_as_it_is(kind):
    source = encoded(kind)
    assert without_metadata(source, kind) == source


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_file_that_ends_too_early_is_told_at_every_byte(kind):
    source = encoded(kind)
    missing_end = [cut for cut in range(14, len(source)) if without_metadata(source[:cut], kind)]
    assert missing_end == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_what_stands_behind_the_end_goes(kind):
    source = encoded(kind)
    assert without_metadata(source + b"secret", kind) == source


def test_the_thumbnail_within_jfif_goes_and_the_density_stays():
    source = encoded("JPEG", dpi=(300, 300))
    jfif = b"JFIF\x00\x01\x01\x01\x01\x2c\x01\x2c\x01\x01" + b"abc"
    with_thumbnail = source[:2] + segment(0xE0, jfif) + source[20:]
    assert without_metadata(with_thumbnail, "JPEG") == source


@pytest.mark.parametrize("body", [b"JFIF\x00\x01", b"JFXX\x00\x10abc"])
def test_a_jfif_segment_that_is_none_goes(body):
    source = encoded("JPEG")
    assert without_metadata(source[:2] + segment(0xE0, body) + source[20:], "JPEG") == (
        source[:2] + source[20:]
    )


def test_colour_segments_of_a_jpeg_stay_and_their_namesakes_go():
    source = encoded("JPEG")
    kept = segment(0xEE, b"Adobe\x00d")
    gone = segment(0xE2, b"MPF\x00") + segment(0xEE, b"other") + segment(0xEB, b"JP secret")
    assert without_metadata(source[:2] + kept + gone + source[2:], "JPEG") == (
        source[:2] + kept + source[2:]
    )


@pytest.mark.parametrize("bad", [b"\xff\xe1\x00\x01", b"\xff\xd8\x00\x04ab"])
def test_a_jpeg_with_an_impossible_segment_is_not_followed(bad):
    source = encoded("JPEG")
    assert without_metadata(source[:2] + bad + source[2:], "JPEG") is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_an_animation_is_not_followed(kind):
    more = [Image.new("L", (40, 30), each) for each in (90, 200)]
    assert without_metadata(encoded(kind, save_all=True, append_images=more), kind) is None


def test_a_gif_whose_picture_does_not_fill_the_screen_is_not_followed():
    source = bytearray(encoded("GIF"))
    source[6] += 1
    assert without_metadata(bytes(source), "GIF") is None


def test_a_gif_without_a_global_palette_is_followed():
    source = encoded("GIF")
    flags, table = source[10], source[13 : 13 + 3 * 2 ** ((source[10] & 7) + 1)]
    body = source[13 + len(table) :]
    at = body.index(b"\x2c" + b"\x00" * 4)
    image = body[at : at + 9] + bytes([body[at + 9] | 0x80 | flags & 7]) + table + body[at + 10 :]
    local = source[:10] + bytes([flags & 0x7F]) + source[11:13] + body[:at] + image
    assert without_metadata(local, "GIF") == local
    assert same_pixels(local, source)


def test_a_webp_without_pixels_is_not_followed():
    assert without_metadata(b"RIFF\x04\x00\x00\x00WEBP", "WEBP") is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_file_of_very_many_pieces_is_not_followed(kind):
    source = encoded(kind)
    piece = {
        "JPEG": segment(0xFE, b"x"),
        "PNG": struct.pack(">I", 0) + b"teXt" + b"\0\0\0\0",
        "WEBP": b"VP8X" + struct.pack("<I", 10) + bytes(10),
    }[kind]
    start = {"JPEG": 2, "PNG": 33, "WEBP": 12}[kind]
    for count, is_followed in ((1_000, True), (30_000, False)):
        many = source[:start] + piece * count + source[start:]
        if kind == "WEBP":
            many = many[:4] + struct.pack("<I", len(many) - 8) + many[8:]
        assert (without_metadata(many, kind) is not None) == is_followed


@pytest.mark.parametrize(
    "piece",
    [segment(0xDC, b"\0\1secret"), segment(0xF0, b"secret"), segment(0xC8, b"secret")],
    ids=["a number of lines", "a reserved marker", "an extension"],
)
def test_segments_of_a_jpeg_that_no_decoder_needs_go(piece):
    source = encoded("JPEG")
    assert without_metadata(source[:2] + piece + source[2:], "JPEG") == source


def test_a_number_of_lines_stays_and_bytes_behind_the_fields_of_adobe_go():
    source = encoded("JPEG")
    lines, adobe = segment(0xDC, b"\0\x1e"), b"Adobe\0\x64\0\0\0\0\1"
    long = source[:2] + segment(0xEE, adobe + b"secret") + lines + source[2:]
    assert without_metadata(long, "JPEG") == source[:2] + segment(0xEE, adobe) + lines + source[2:]


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + b"crc."


@pytest.mark.parametrize("name", [b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sBIT", b"bKGD", b"pHYs"])
def test_chunks_of_a_png_that_are_longer_than_they_may_be_go(name):
    source = encoded("PNG")
    long = source[:33] + chunk(name, bytes(32) + b"secret") + source[33:]
    assert without_metadata(long, "PNG") == source


def test_an_end_of_a_png_that_holds_something_is_emptied():
    source = encoded("PNG")
    assert without_metadata(source[:-12] + chunk(b"IEND", b"secret"), "PNG") == source


@pytest.mark.parametrize(("name", "size"), [(b"PLTE", 769), (b"tRNS", 257), (b"IHDR", 14)])
def test_a_png_whose_decoded_chunks_are_too_long_is_not_followed(name, size):
    source = encoded("PNG")
    assert without_metadata(source[:33] + chunk(name, bytes(size)) + source[33:], "PNG") is None


@pytest.mark.parametrize(
    ("extra", "kept"),
    [
        (b"\x21\xf9\x04abcd\x06secret\x00", b"\x21\xf9\x04abcd\x00"),
        (b"\x21\xf9\x06secret\x00", b""),
        (b"\x21\xf9\x04abcd\x00", b"\x21\xf9\x04abcd\x00"),
    ],
)
def test_of_a_graphic_control_of_a_gif_nothing_but_its_fields_stays(extra, kept):
    source = encoded("GIF")
    at = 13 + 3 * 2 ** ((source[10] & 7) + 1)
    assert without_metadata(source[:at] + extra + source[at:], "GIF") == (
        source[:at] + kept + source[at:]
    )
