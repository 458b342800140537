"""Decoding that accepts no pixels which the decoder made up."""

from io import BytesIO
from random import Random

import pytest
from PIL import Image

from vision_pipeline.core import strict_decoding
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.imaging import check, prepare

END = b"\xff\xd9"
SMALLER = ImageSettings(max_side_px=100)  # has the file drawn anew, where the other keeps it
KEPT = ImageSettings()
both = pytest.mark.parametrize("settings", [KEPT, SMALLER], ids=["kept", "drawn"])


def jpeg(mode="RGB", **options):
    """A file of about 40 kB of compressed pixels."""
    noise = Image.frombytes("RGB", (80, 60), Random(1).randbytes(80 * 60 * 3))
    written = BytesIO()
    noise.resize((400, 300)).convert(mode).save(written, "JPEG", quality=95, **options)
    return written.getvalue()


def scan_of(source):
    """Where the compressed pixels of the first scan begin."""
    at = source.index(b"\xff\xda")
    return at + 2 + int.from_bytes(source[at + 2 : at + 4], "big")


def middle_of(source):
    return (scan_of(source) + len(source)) // 2


def zeroed(source, size=4096):
    at = middle_of(source)
    return source[:at] + bytes(size) + source[at + size :]


def detail_of(source, settings=KEPT):
    with pytest.raises(ItemError) as caught:
        prepare(source, settings)
    assert caught.value.code == ErrorCode.UNREADABLE_IMAGE
    return caught.value.detail


DAMAGES = {
    "zeros in the middle": zeroed,
    "zeros to the end": lambda source: source[: middle_of(source)] + bytes(9000) + END,
    "zeros to the end without a mark": lambda source: source[: middle_of(source)] + bytes(9000),
    "a cut that was given an end": lambda source: source[: middle_of(source)] + END,
    "the last of it gone": lambda source: source[:-1000] + END,
    "a hole": lambda source: source[: middle_of(source)] + source[middle_of(source) + 1000 :],
}


@both
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_whose_pixels_are_lost_is_unreadable(damage, mode, settings):
    assert "damaged JPEG" in detail_of(damage(jpeg(mode)), settings)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_progressive_jpeg_is_no_less_strict(damage):
    assert "damaged JPEG" in detail_of(damage(jpeg(progressive=True)))


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"mode": "L"}, {"mode": "CMYK"}]
)
def test_the_pixels_are_those_that_pillow_gives(options, scale):
    source = jpeg(**options)
    size = (400 // scale, 300 // scale)
    strict = prepare(source, ImageSettings(max_side_px=size[0], format="png"))
    lenient = prepare(source, ImageSettings(max_side_px=size[0], format="png", verify="structure"))
    assert strict == lenient


@both
def test_what_is_only_structured_right_goes_out_where_that_is_asked_for(settings):
    hasty = ImageSettings(max_side_px=settings.max_side_px, verify="structure")
    assert prepare(zeroed(jpeg()), hasty).note == ""


@both
@pytest.mark.parametrize("filling", [b"\x00", b"\x12" * 6, bytes(4096), b"\xff" * 100])
def test_a_few_bytes_or_a_disk_block_of_zeros_behind_the_last_pixel_are_no_damage(
    filling, settings
):
    assert prepare(jpeg()[:-2] + filling + END, settings).note == ""


@pytest.mark.parametrize("filling", [bytes(5000), b"\x12" * 12])
def test_more_than_that_behind_the_last_pixel_tells_of_damage_before_it(filling):
    assert "extraneous" in detail_of(jpeg()[:-2] + filling + END)


def test_bytes_astray_between_the_headers_are_no_damage():
    source = jpeg()
    assert check(source[:20] + b"astray" + source[20:], KEPT) == ""
    # Without an end mark, the file is not taken apart, and these bytes are all that is found out.
    assert check(source[:20] + b"astray" + source[20:-2] + bytes(9000), KEPT) == ""


@both
def test_damage_between_two_restart_marks_is_told_in_a_note(settings):
    source = jpeg(restart_marker_rows=1)
    at = source.index(b"\xff\xd3")
    noted = prepare(source[:at] + b"\x12" * 9 + source[at:], settings)
    assert noted.note == (
        "its decoder warns: Corrupt JPEG data: 9 extraneous bytes before marker 0xd3"
    )


def test_a_restart_mark_that_is_missing_tells_of_lost_pixels():
    source = jpeg(restart_marker_rows=1)
    first, third = source.index(b"\xff\xd1"), source.index(b"\xff\xd3")
    assert "damaged JPEG" in detail_of(source[:first] + source[third:])
    at = source.index(b"\xff\xd0")
    assert "damaged JPEG" in detail_of(
        source[:at] + b"\x12" * 9 + source[at:third] + source[third + 2 :]
    )


def test_remarks_about_headers_are_no_damage():
    source = jpeg()
    assert source[6:13] == b"JFIF\x00\x01\x01"
    assert check(source[:11] + b"\x07" + source[12:], KEPT) == ""


class Refusing:
    """A decoder that says why it refuses, or gives another size than it was asked for."""

    def __init__(self, message=None):
        self.message = message

    def decode_jpeg(self, data, **_):
        if self.message is None:
            return memoryview(bytes(6)).cast("B", (2, 3))
        raise ValueError(self.message)


def test_what_this_decoder_does_not_take_is_left_to_pillow(monkeypatch):
    for decoder in (Refusing("Unsupported color conversion request"), Refusing()):
        monkeypatch.setattr(strict_decoding, "_decoder", lambda decoder=decoder: decoder)
        assert prepare(jpeg(), SMALLER).width_px == 100


def test_a_decoder_without_memory_says_that_the_jpeg_is_too_large(monkeypatch):
    refusing = Refusing("Insufficient memory (case 4)")
    monkeypatch.setattr(strict_decoding, "_decoder", lambda: refusing)
    with pytest.raises(ItemError) as caught:
        prepare(jpeg(), SMALLER)
    assert caught.value.code == ErrorCode.IMAGE_TOO_LARGE
