"""Telling damage from too little memory."""

from io import BytesIO

import pytest
from PIL import Image

from vision_pipeline.core.image_memory import may_exceed, stated_size
from vision_pipeline.core.image_settings import ImageSettings

MEBIBYTE = 1024 * 1024


def encoded(kind, **options):
    written = BytesIO()
    Image.new("RGB", (70, 50)).save(written, kind, **options)
    return written.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
        ("PNG", {}),
        ("TIFF", {}),
    ],
)
def test_the_size_is_read_from_the_header_also_of_a_file_whose_pixels_are_gone(kind, options):
    source = encoded(kind, **options)
    assert stated_size(source, ImageSettings()) == (70, 50)
    if kind != "TIFF":  # which begins with its pixels
        assert stated_size(source[:60], ImageSettings()) == (70, 50)


@pytest.mark.parametrize(
    "source", [b"", b"RIFF....WEBP", b"RIFF....WEBPVP8 " + bytes(20), b"%PDF-"]
)
def test_a_file_without_a_header_has_no_size(source):
    assert stated_size(source, ImageSettings()) is None


def test_pixels_and_the_file_itself_take_memory():
    size = (4000, 4000)
    assert may_exceed(200 * MEBIBYTE, source_bytes=20 * MEBIBYTE, size=size)
    assert not may_exceed(210 * MEBIBYTE, source_bytes=20 * MEBIBYTE, size=size)
    assert may_exceed(256 * MEBIBYTE, source_bytes=257 * MEBIBYTE, size=None)
    assert not may_exceed(256 * MEBIBYTE, source_bytes=100, size=None)
