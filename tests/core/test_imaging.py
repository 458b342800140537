"""Preparing images: every kind of source, made here or taken from the shared collection."""

import json
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageChops, ImageCms, ImageDraw, ImageStat

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_colour import plain, resizable
from vision_pipeline.core.image_decoding import DECODER_ERRORS
from vision_pipeline.core.image_encoding import encode
from vision_pipeline.core.image_formats import PLUGIN_PACKAGES, recognise
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.imaging import prepare
from vision_pipeline.core.sizing import SizeRule

NASTY = Path(__file__).parents[3] / "shared" / "data"
RED, WHITE, BLUE = (200, 30, 30), (255, 255, 255), (30, 30, 200)
FORCE_PNG = ImageSettings(format="png")


def encoded(image, kind, **options):
    written = BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def decoded_bytes(data):
    return Image.open(BytesIO(data)).convert("RGB").tobytes()


def decoded(prepared):
    return Image.open(BytesIO(prepared.data)).convert("RGB")


def photo(width=64, height=48, mode="RGB"):
    """Noise over a gradient: like a photo, it is large as PNG."""
    gradient = Image.linear_gradient("L").resize((width, height))
    noise = Image.frombytes("L", (width, height), Random(1).randbytes(width * height))
    grey = ImageChops.add(gradient, noise, scale=2)
    return Image.merge("RGB", (grey, gradient, noise)).convert(mode)


def flag(width=60, height=40):
    """Top left red, the rest white: shows which way up it is."""
    image = Image.new("RGB", (width, height), WHITE)
    ImageDraw.Draw(image).rectangle((0, 0, width // 2 - 1, height // 2 - 1), RED)
    return image


def turned(orientation):
    """`flag()` as a camera stores it under an EXIF orientation."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = flag()
    return (image.transpose(undo[orientation]) if orientation in undo else image), exif


def near(pixel, wanted, tolerance=24):
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, wanted, strict=True))


def code_of(source, image_settings=None):
    with pytest.raises(ItemError) as caught:
        prepare(source, image_settings or ImageSettings())
    return caught.value.code


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_orientation_comes_out_upright(kind, orientation):
    image, exif = turned(orientation)
    prepared = prepare(encoded(image, kind, exif=exif), ImageSettings())
    shown = decoded(prepared)
    assert (prepared.source_width_px, prepared.source_height_px) == shown.size == (60, 40)
    assert near(shown.getpixel((8, 8)), RED)
    assert near(shown.getpixel((52, 8)), WHITE)
    assert near(shown.getpixel((8, 32)), WHITE)


def test_an_orientation_stated_in_xmp_alone_counts():
    image, _ = turned(6)
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    prepared = prepare(encoded(image, "JPEG", xmp=xmp), ImageSettings())
    assert decoded(prepared).size == (60, 40)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    "stated",
    [
        b'<rdf:Description tiff:Orientation="6"/>',
        b"<rdf:Description tiff:Orientation='6'/>",
        b"<tiff:Orientation>6</tiff:Orientation>",
    ],
)
@pytest.mark.parametrize("side", [1540, 30])
def test_an_orientation_in_any_spelling_of_xmp_counts(kind, stated, side):
    image, _ = turned(6)
    xmp = b"<x:xmpmeta>" + stated + b"</x:xmpmeta>"
    if kind == "TIFF":
        source = encoded(image, kind, tiffinfo={700: xmp})
    else:
        source = encoded(image, kind, xmp=xmp)
    prepared = prepare(source, ImageSettings(max_side_px=side))
    assert (prepared.source_width_px, prepared.source_height_px) == (60, 40)
    shown = decoded(prepared)
    assert shown.width == min(side, 60)
    assert shown.width > shown.height
    assert near(shown.getpixel((3, 3)), RED, 40)
    assert near(shown.getpixel((shown.width - 4, 3)), WHITE, 40)


def test_the_tag_of_a_tiff_ranks_above_its_xmp():
    image, exif = turned(6)
    xmp = b'<rdf:Description tiff:Orientation="3"/>'
    source = encoded(image, "TIFF", tiffinfo={700: xmp, 274: exif[274]})
    assert near(decoded(prepare(source, ImageSettings())).getpixel((8, 8)), RED)


def test_pixels_that_a_decoder_turned_unannounced_are_not_stretched(monkeypatch):
    def load(image):
        image._size = image.size[::-1]

    monkeypatch.setattr("PIL.BmpImagePlugin.BmpImageFile.load", load)
    assert code_of(encoded(flag(), "BMP")) == ErrorCode.UNREADABLE_IMAGE


def test_an_orientation_chunk_behind_the_pixels_of_a_png_counts():
    image, exif = turned(6)
    png = encoded(image, "PNG")
    body = exif.tobytes().removeprefix(b"Exif\x00\x00")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + body))
    prepared = prepare(png[:-12] + chunk + png[-12:], ImageSettings(verify="structure"))
    assert decoded(prepared).size == (60, 40)


@pytest.mark.parametrize("orientation", [0, 9, 700])
def test_an_orientation_that_does_not_exist_is_ignored(orientation):
    _, exif = turned(orientation)
    prepared = prepare(encoded(flag(), "JPEG", exif=exif), ImageSettings())
    assert near(decoded(prepared).getpixel((8, 8)), RED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_that_cannot_be_read_is_ignored(kind):
    source = encoded(flag(), kind, exif=b"Exif\x00\x00garbage")
    assert prepare(source, ImageSettings()).width_px == 60


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("PNG", "RGB"),
        ("PNG", "L"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("WEBP", "RGB"),
        ("GIF", "P"),
        ("GIF", "L"),
    ],
)
@pytest.mark.parametrize("verify", ["full", "structure"])
def test_what_needs_no_change_goes_out_byte_for_byte(kind, mode, verify):
    source = encoded(photo(mode=mode), kind)
    prepared = prepare(source, ImageSettings(verify=verify))
    assert prepared.data == source
    assert prepared.media_type == f"image/{kind.lower()}"
    assert (prepared.width_px, prepared.height_px) == (64, 48)
    assert prepared.source_bytes == len(source)


def test_a_progressive_jpeg_goes_out_byte_for_byte():
    source = encoded(photo(), "JPEG", progressive=True)
    assert prepare(source, ImageSettings()).data == source


def test_a_jpeg_that_stores_rgb_goes_out_byte_for_byte():
    source = encoded(photo(), "JPEG", keep_rgb=True)
    assert prepare(source, ImageSettings()).data == source


def test_remarks_of_pillow_about_odd_files_stay_inside():
    png = encoded(flag(), "PNG")
    body = b"acTL" + bytes(8)  # an animation of no frames: Pillow warns, and warnings are errors
    chunk = struct.pack(">I", 8) + body + struct.pack(">I", zlib.crc32(body))
    prepared = prepare(png[:33] + chunk + png[33:], ImageSettings())
    assert near(decoded(prepared).getpixel((8, 8)), RED)


def test_threads_prepare_side_by_side_as_they_would_alone():
    sources = [encoded(photo(80 + n, 60), "PNG") for n in range(12)]
    small = ImageSettings(max_side_px=40)
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda source: prepare(source, small), sources))
    assert together == [prepare(source, small) for source in sources]


def test_metadata_of_an_untouched_file_stays_only_if_asked():
    source = encoded(photo(), "JPEG", comment=b"secret", exif=turned(1)[1])
    assert prepare(source, ImageSettings(strip_metadata=False)).data == source
    stripped = prepare(source, ImageSettings()).data
    assert b"secret" not in stripped
    assert b"Exif" not in stripped
    assert Image.open(BytesIO(stripped)).tobytes() == Image.open(BytesIO(source)).tobytes()


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_what_is_encoded_anew_carries_nothing_of_the_source(kind):
    exif = Image.Exif()
    exif[0x010E] = "secret"
    jpeg = encoded(photo(), "JPEG", comment=b"secret", exif=exif, xmp=b"secret", dpi=(300, 300))
    gif = encoded(photo().convert("P"), "GIF", comment=b"secret")
    for source in (jpeg, gif):
        data = prepare(source, ImageSettings(max_side_px=20, format=kind)).data
        assert b"secret" not in data
        assert set(Image.open(BytesIO(data)).info) <= {
            "jfif", "jfif_version", "jfif_unit", "jfif_density"
        }  # fmt: skip


def test_a_jpeg_of_several_pictures_sends_only_the_first():
    source = encoded(photo(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    prepared = prepare(source, ImageSettings())
    assert prepared.source_format == "MPO"
    assert prepared.media_type == "image/jpeg"
    assert len(prepared.data) < len(source)
    assert prepared.data.count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_of_an_animation_the_first_frame_is_sent(kind):
    frames = [Image.new("RGB", (20, 10), each) for each in (RED, BLUE)]
    source = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    shown = decoded(prepare(source, ImageSettings()))
    assert near(shown.getpixel((5, 5)), RED)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_parts_lie_on_white(kind, mode):
    image = Image.new("RGBA", (20, 10), (0, 0, 0, 0)).convert(mode)
    assert decoded(prepare(encoded(image, kind), ImageSettings())).getpixel((5, 5)) == WHITE


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
def test_a_transparent_colour_lies_on_white(mode):
    image = Image.new(mode, (20, 10), 0)
    transparency = (0, 0, 0) if mode == "RGB" else 0
    source = encoded(image, "PNG", transparency=transparency)
    assert decoded(prepare(source, ImageSettings())).getpixel((5, 5)) == WHITE


def test_half_transparent_pixels_are_mixed_with_white():
    image = Image.new("RGBA", (20, 10), (0, 0, 0, 128))
    shown = decoded(prepare(encoded(image, "PNG"), ImageSettings()))
    assert near(shown.getpixel((5, 5)), (127, 127, 127), 1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_byte(kind):
    image = Image.new("I;16", (20, 10), 0x80FF)
    shown = decoded(prepare(encoded(image, kind), FORCE_PNG))
    assert shown.getpixel((5, 5)) == (0x80, 0x80, 0x80)


def test_a_transparent_value_of_sixteen_bit_grey_lies_on_white():
    image = Image.new("I;16", (20, 10), 300)
    image.putpixel((5, 5), 30000)
    png = encoded(image, "PNG")
    chunk = b"tRNS" + struct.pack(">H", 300)
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    shown = decoded(prepare(png[:33] + chunk + png[33:], FORCE_PNG))
    assert shown.getpixel((0, 0)) == WHITE
    assert shown.getpixel((5, 5)) == (117, 117, 117)


@pytest.mark.parametrize(
    ("mode", "low", "high", "shown_high"),
    [
        ("I", 0, 200, 200),
        ("I", 0, 0x8000, 0x80),
        ("I", -70000, 70000, 255),
        ("F", 0.0, 200.0, 200),
        ("F", 0.0, 1.0, 255),
        ("F", 7.0, 7.0, 7),
        ("F", 0.5, 0.5, 0),
        ("F", 0.0, float("inf"), 255),
    ],
)
def test_wide_values_are_brought_into_eight_bits(mode, low, high, shown_high):
    image = Image.new(mode, (20, 10), low)
    image.putpixel((5, 5), high)
    shown = decoded(prepare(encoded(image, "TIFF"), FORCE_PNG))
    assert shown.getpixel((5, 5)) == (shown_high,) * 3


def test_a_sixteen_bit_colour_png_is_encoded_anew():
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"IDAT", zlib.compress(b"\x00" + b"\x80\x00" * 3)),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    prepared = prepare(png, FORCE_PNG)
    assert prepared.data != png
    assert decoded(prepared).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_the_right_way_round(kind):
    source = encoded(Image.new("CMYK", (20, 10), (0, 255, 255, 0)), kind)
    prepared = prepare(source, ImageSettings())
    assert Image.open(BytesIO(prepared.data)).mode == "RGB"
    assert near(decoded(prepared).getpixel((5, 5)), (254, 0, 0))


@pytest.mark.parametrize("mode", ["LAB", "YCbCr", "RGBX", "La", "RGBa", "PA"])
def test_rare_colour_models_become_rgb(mode):
    if mode == "LAB":
        image = Image.new("LAB", (20, 10), (136, 128, 128))
    else:
        via = {"La": "LA", "RGBa": "RGBA", "PA": "LA"}.get(mode, "RGB")
        image = Image.new("RGB", (20, 10), (130, 130, 130)).convert(via).convert(mode)
    source = encoded(image, "TIFF") if mode in {"LAB", "YCbCr", "RGBX"} else None
    if source is None:  # Pillow reads these modes and does not write them
        shown = plain(resizable(image), None).convert("RGB")
    else:
        shown = decoded(prepare(source, FORCE_PNG))
    assert near(shown.getpixel((5, 5)), (130, 130, 130), 4)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("BMP", {}), ("TIFF", {}), ("JPEG2000", {}), ("ICO", {}), ("PPM", {}), ("AVIF", {})],
)
def test_other_formats_are_encoded_anew(kind, options):
    source = encoded(flag(64, 64), kind, **options)
    prepared = prepare(source, ImageSettings())
    assert prepared.media_type in {"image/png", "image/jpeg"}
    assert (prepared.source_width_px, prepared.source_format) == (64, kind)
    assert near(decoded(prepared).getpixel((8, 8)), RED)


def test_of_several_pages_the_first_is_sent():
    pages = [Image.new("RGB", (20, 10), RED), Image.new("RGB", (99, 99), BLUE)]
    prepared = prepare(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), FORCE_PNG)
    assert decoded(prepared).getpixel((5, 5)) == RED


# --- colour profiles


def profile_bytes(profile):
    return ImageCms.ImageCmsProfile(profile).tobytes()


def swapped_profile():
    """A valid profile in which red and green change places: nobody can take it for sRGB."""
    data = profile_bytes(ImageCms.createProfile("sRGB"))
    return data.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_srgb_profile_leaves_the_pixels_untouched_and_is_cut_out(kind):
    profile = profile_bytes(ImageCms.createProfile("sRGB"))
    source, bare = encoded(photo(), kind, icc_profile=profile), encoded(photo(), kind)
    sent = prepare(source, ImageSettings()).data
    assert profile not in sent
    assert decoded_bytes(sent) == decoded_bytes(bare)
    assert len(sent) <= len(bare) + 18  # WebP keeps its extended header
    assert prepare(source, ImageSettings(strip_metadata=False)).data == source


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_broken_profile_is_ignored(mode):
    source = encoded(photo(mode=mode), "JPEG", icc_profile=b"no profile")
    prepared = prepare(source, ImageSettings())
    assert (prepared.data == encoded(photo(mode=mode), "JPEG")) == (mode != "CMYK")


def test_another_profile_is_converted_to_srgb():
    image = Image.new("RGB", (20, 10), (200, 50, 50))
    prepared = prepare(encoded(image, "PNG", icc_profile=swapped_profile()), FORCE_PNG)
    red, green, _ = decoded(prepared).getpixel((5, 5))
    assert green > red + 50
    assert "icc_profile" not in Image.open(BytesIO(prepared.data)).info


def test_a_profile_of_another_colour_model_is_ignored():
    grey = encoded(photo(mode="L"), "JPEG", icc_profile=swapped_profile())
    assert prepare(grey, ImageSettings()).data == encoded(photo(mode="L"), "JPEG")


def test_a_grey_profile_is_converted_and_grey_stays_grey():
    image = Image.new("L", (20, 10), 128)
    prepared = prepare(encoded(image, "PNG", icc_profile=linear_grey_profile()), FORCE_PNG)
    shown = Image.open(BytesIO(prepared.data))
    assert shown.mode == "L"
    assert 180 < shown.getpixel((5, 5)) < 195  # linear 0.5 is 188 in sRGB


def linear_grey_profile():
    """A smallest grey ICC profile (version 2.1) with a linear curve, as ICC.1:2001-04 lays out."""
    white = b"XYZ \x00\x00\x00\x00" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv\x00\x00\x00\x00\x00\x00\x00\x00"
    name = b"desc\x00\x00\x00\x00" + struct.pack(">I", 5) + b"grey\x00" + b"\x00" * 78 + b"\x00"
    tags, body = [], b""
    start = 128 + 4 + 12 * 3
    for tag, data in ((b"desc", name), (b"wtpt", white), (b"kTRC", curve)):
        tags.append(tag + struct.pack(">II", start + len(body), len(data)))
        body += data + b"\x00" * (-len(data) % 4)
    table = struct.pack(">I", 3) + b"".join(tags)
    values = [start + len(body), b"none", 0x02100000, b"mntr", b"GRAY", b"XYZ "]
    values += [b"\x07\xda" + b"\x00\x01" * 5, b"acsp", b"none", 0, b"none", 0, b"", 0]
    values += [0xF6D6, 0x10000, 0xD32D, b""]
    header = struct.pack(">I4sI4s4s4s12s4s4sI4sI8sI3i48s", *values)
    return header[:128] + table + body


# --- sizes


@given(width=st.integers(1, 400), height=st.integers(1, 400), side=st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_sizes_follow_the_models_own_rule_and_never_grow(width, height, side):
    source = encoded(Image.new("L", (width, height), 90), "JPEG")
    prepared = prepare(source, ImageSettings(max_side_px=side))
    sent = (prepared.width_px, prepared.height_px)
    assert sent == SizeRule(max_side_px=side, patch_px=28).sent(width, height)
    assert sent == decoded(prepared).size
    assert sent[0] <= min(width, side)
    assert sent[1] <= min(height, side)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_scaling_down_keeps_the_picture(kind):
    image = photo(90, 70).resize((1800, 1400), Image.Resampling.BICUBIC)
    shown = decoded(prepare(encoded(image, kind, quality=95), ImageSettings(max_side_px=400)))
    wanted = image.resize(shown.size, Image.Resampling.LANCZOS)
    assert max(ImageStat.Stat(ImageChops.difference(shown, wanted)).mean) < 5


def test_turning_and_scaling_go_together():
    image, exif = turned(6)
    image = image.resize((400, 600))
    prepared = prepare(encoded(image, "JPEG", exif=exif), ImageSettings(max_side_px=150))
    assert (prepared.source_width_px, prepared.source_height_px) == (600, 400)
    assert decoded(prepared).size == (150, 100)
    assert near(decoded(prepared).getpixel((20, 20)), RED)


# --- what is sent


def test_flat_graphics_are_sent_as_png_and_photos_as_jpeg():
    chart = encoded(flag(2000, 1000), "PNG")
    assert prepare(chart, ImageSettings()).media_type == "image/png"
    assert prepare(encoded(photo(400, 300), "BMP"), ImageSettings()).media_type == "image/jpeg"


def test_a_lossless_source_that_is_smaller_as_jpeg_is_sent_as_jpeg():
    image = flag(400, 300)
    image.paste(photo(400, 100), (0, 0))
    assert prepare(encoded(image, "BMP"), ImageSettings()).media_type == "image/jpeg"


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_format_can_be_forced(kind):
    for source in (encoded(photo(), "JPEG"), encoded(flag(), "PNG"), encoded(photo(), "WEBP")):
        assert prepare(source, ImageSettings(format=kind)).media_type == f"image/{kind}"


def test_quality_decides_about_bytes():
    source = encoded(photo(300, 200), "BMP")
    sizes = [
        len(prepare(source, ImageSettings(quality=quality, format="jpeg")).data)
        for quality in (50, 85, 95)
    ]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("kind", ["auto", "jpeg", "png"])
@pytest.mark.parametrize("limit", [20_000, 4_000])
def test_too_many_bytes_are_stepped_down_and_never_refused(kind, limit):
    source = encoded(photo(300, 200), "JPEG", quality=95)
    assert len(source) > limit
    prepared = prepare(source, ImageSettings(format=kind, max_sent_bytes=limit))
    assert len(prepared.data) <= limit
    assert decoded(prepared).size == (prepared.width_px, prepared.height_px)


def test_a_limit_below_the_smallest_file_gives_the_smallest_file():
    sent = encode(photo(), "png", quality=90, max_bytes=10, is_lossless=True)
    assert (sent.width_px, sent.height_px) == (1, 1)


def test_the_digest_is_of_the_source():
    source = encoded(photo(), "JPEG")
    digests = {
        prepare(source, each).source_sha256 for each in (ImageSettings(), ImageSettings(quality=50))
    }
    assert len(digests) == 1
    assert len(digests.pop()) == 64


# --- refusals


@pytest.mark.parametrize(
    ("source", "detail"),
    [
        (b"", "empty"),
        (b'{"error": "not found"}', "text"),
        (b"\x00\x01\x02\x03" * 20, "no known image format"),
        (encoded(photo(), "JPEG")[:900], "damaged JPEG"),
        (encoded(photo(), "PNG")[:900], "damaged PNG"),
        (b"\xff\xd8\xff", "damaged JPEG"),
        (b"P6 0 0 255 ", "damaged PPM"),
    ],
)
def test_what_cannot_be_read_says_why(source, detail):
    with pytest.raises(ItemError, match=detail) as caught:
        prepare(source, ImageSettings())
    assert caught.value.code == ErrorCode.UNREADABLE_IMAGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_file_that_was_damaged_gives_an_image_or_an_item_error(kind, data):
    source = bytearray(encoded(photo(), kind))
    cut = data.draw(st.integers(1, len(source)))
    for _ in range(data.draw(st.integers(0, 4))):
        source[data.draw(st.integers(0, len(source) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ItemError):
        assert prepare(bytes(source[:cut]), ImageSettings()).data


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIF"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", "HEIF"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x00crx isom", "camera raw (CR3)"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00mp42", "video (MP4 or QuickTime)"),
        (b"\xff\x0a\x00", "JXL"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a -->\n<svg>', "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF", "EPS"),
        (b"8BPS\x00\x01", "PSD"),
        (b"DDS \x7c", "DDS"),
        (b"\x00" * 128 + b"DICM", "DICOM"),
        (b"\x00\x00\x02" + b"\x00" * 20 + b"TRUEVISION-XFILE.\x00", "TGA"),
    ],
)
def test_known_formats_that_are_not_decoded_are_named(monkeypatch, source, name):
    if name in PLUGIN_PACKAGES:
        monkeypatch.setitem(PLUGIN_PACKAGES, name, "a_package_that_is_not_installed")
        monkeypatch.delitem(Image.OPEN, name, raising=False)
    with pytest.raises(ItemError) as caught:
        prepare(source, ImageSettings())
    assert caught.value.code == ErrorCode.UNSUPPORTED_FORMAT
    assert caught.value.detail.startswith(name)


@pytest.mark.parametrize("brand", [b"avif", b"mif1"])
def test_avif_is_told_by_its_brands(brand):
    assert recognise(b"\x00\x00\x00\x18ftyp" + brand + b"\x00\x00\x00\x00avifmiaf") == "AVIF"


def test_a_plugin_that_was_registered_is_used(monkeypatch):
    def open_as_gif(file, name):
        image = Image.open(BytesIO(encoded(flag(), "GIF")))
        image.format = "JXL"
        return image

    monkeypatch.setitem(Image.OPEN, "JXL", (open_as_gif, None))
    prepared = prepare(b"\xff\x0a", ImageSettings())
    assert prepared.source_format == "JXL"
    assert near(decoded(prepared).getpixel((8, 8)), RED)


def test_an_image_without_area_is_unreadable(monkeypatch):
    monkeypatch.setitem(Image.OPEN, "JXL", (lambda file, name: Image.new("L", (0, 1)), None))
    assert code_of(b"\xff\x0a") == ErrorCode.UNREADABLE_IMAGE


def test_a_plugin_may_give_an_image_that_is_no_file(monkeypatch):
    def open_as_plain(file, name):
        image = flag()
        image.format = "JXL"
        return image

    monkeypatch.setitem(Image.OPEN, "JXL", (open_as_plain, None))
    assert prepare(b"\xff\x0a", ImageSettings(max_side_px=30)).width_px == 30


def test_too_many_bytes_are_refused_before_anything_is_read():
    limits = ImageSettings(max_source_bytes=10)
    assert code_of(b"\xff\xd8\xff" + b"x" * 10, limits) == ErrorCode.IMAGE_TOO_LARGE


def test_a_decoder_without_memory_says_that_the_image_is_too_large(monkeypatch):
    def out_of_memory(*_):
        raise MemoryError

    monkeypatch.setitem(Image.OPEN, "JXL", (out_of_memory, None))
    assert code_of(b"\xff\x0a") == ErrorCode.IMAGE_TOO_LARGE


def test_too_many_pixels_are_refused_by_the_header():
    bomb = encoded(Image.new("1", (5000, 4000)), "PNG")
    limits = ImageSettings(max_source_pixels=19_999_999)
    assert code_of(bomb, limits) == ErrorCode.IMAGE_TOO_LARGE
    assert code_of(b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + b"," + b"\x00" * 4 + b"\xff\xff" * 2)


def test_pillows_own_refusal_of_a_bomb_is_too_large():
    gif = b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\x00"
    assert code_of(gif) == ErrorCode.IMAGE_TOO_LARGE


def test_a_bomb_inside_of_an_icon_is_too_large(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    inner = encoded(Image.new("1", (300, 300)), "PNG")
    icon = b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00\x01\x00\x20\x00"
    icon += len(inner).to_bytes(4, "little") + (22).to_bytes(4, "little")
    assert code_of(icon + inner) == ErrorCode.IMAGE_TOO_LARGE


def test_a_plugin_is_loaded_when_the_first_file_for_it_comes(monkeypatch):
    package = ModuleType("pillow_heif")
    opener = (lambda file, name: flag(), None)
    package.register_heif_opener = lambda: Image.OPEN.__setitem__("HEIF", opener)
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    monkeypatch.setitem(Image.OPEN, "HEIF", None)  # is put back to what it was
    del Image.OPEN["HEIF"]
    source = b"\x00\x00\x00\x18ftypheic" + bytes(12)
    assert prepare(source, ImageSettings(max_side_px=30)).width_px == 30


@pytest.mark.parametrize("verify", ["full", "structure"])
def test_a_cut_file_is_found_before_it_is_sent(verify):
    source = encoded(photo(), "JPEG")[:-400]
    assert code_of(source, ImageSettings(verify=verify)) == ErrorCode.UNREADABLE_IMAGE


# --- the shared collection of damaged and unusual files


def nasty_rows():
    manifest = NASTY / "nasty.jsonl"
    lines = manifest.read_text("utf-8").splitlines() if manifest.exists() else []
    return [json.loads(line) for line in lines]


def plain_pillow_decodes(source):
    """Whether this build of Pillow decodes it: a few rows differ between libtiff versions."""
    try:
        image = Image.open(BytesIO(source))
        image.load()
    except (*DECODER_ERRORS, Image.DecompressionBombError):
        return False
    return True


def outcome(source):
    """The prepared image, or None for an error row."""
    with suppress(ItemError):
        return prepare(source, ImageSettings())
    return None


@pytest.mark.skipif(not NASTY.exists(), reason="the shared data are not here")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_nasty_collection_gives_images_or_item_errors_as_expected():
    for row in nasty_rows():
        source = (NASTY / row["path"]).read_bytes()
        is_expected = row["expected"].startswith("decodable")
        prepared = outcome(source)
        assert is_expected == (prepared is not None) or plain_pillow_decodes(source), row["path"]
        assert prepared is not None or not is_expected, row["path"]
        if prepared is not None and row.get("upright_size"):
            size = [prepared.source_width_px, prepared.source_height_px]
            assert size == row["upright_size"], row["path"]
            assert decoded(prepared).size == (prepared.width_px, prepared.height_px)


@pytest.mark.parametrize("error", [MemoryError(), OSError("codec configuration error")])
def test_an_encoder_without_memory_says_that_the_image_is_too_large(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ItemError, match=r"image\.max_decode_bytes") as caught:
        encode(flag(), "jpeg", quality=90, max_bytes=10_000, is_lossless=True)
    assert caught.value.code == ErrorCode.IMAGE_TOO_LARGE
