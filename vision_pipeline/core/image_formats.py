"""What an encoded image is, told by its first bytes and never by its name."""

from __future__ import annotations

import re

DECODED_FORMATS = frozenset(
    {"JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "ICO", "PPM"}
)
# Decoded where the package is installed; all are in the extra [formats].
PLUGIN_PACKAGES = {"HEIF": "pillow_heif", "JXL": "pillow_jxl", "PDF": "pypdfium2"}
PLUGIN_FORMATS = frozenset(PLUGIN_PACKAGES)
FORMATS_HINT = "install the extra [formats], which decodes it"

_TEXT_WINDOW_BYTES = 1024

# (offset, bytes there, name). Sources: the formats' own specifications; the order matters only
# where one mark begins another.
_MARKS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "TIFF"),
    (0, b"MM\x00+", "TIFF"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JXL"),
    (0, b"\xff\x0a", "JXL"),
    (0, b"8BPS", "PSD"),
    (0, b"DDS ", "DDS"),
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"%PDF-", "PDF"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (40, b" EMF", "EMF"),
    (0, b"icns", "ICNS"),
    (0, b"qoif", "QOI"),
    (0, b"\x01\xda", "SGI"),
    (0, b"gimp xcf", "XCF"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"AT&TFORM", "DjVu"),
    (0, b"SIMPLE  =", "FITS"),
    (128, b"DICM", "DICOM"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"IIU\x00", "camera raw (RW2)"),
    (0, b"IIRO", "camera raw (ORF)"),
    (0, b"FUJIFILMCCD-RAW", "camera raw (RAF)"),
    (0, b"\x0a\x05\x01", "PCX"),
    (0, b"BM", "BMP"),
)
_PPM_MARK = re.compile(rb"P[1-6f][\s#]")
_SVG_MARK = re.compile(rb"\s*<(?:svg|[?!][^>]*>.*<svg)[\s>]", re.DOTALL | re.IGNORECASE)
_TARGA_FOOTER = b"TRUEVISION-XFILE.\x00"
_TEXT = re.compile(rb"[\t\n\f\r\x20-\x7e\x80-\xff]+")
_UTF8_MARK = b"\xef\xbb\xbf"


def recognise(source: bytes) -> str | None:
    """The name of the format that the content claims, or None where it claims none.

    A name in `DECODED_FORMATS` or `PLUGIN_FORMATS` is one that may be decoded here; any other is
    for a message.
    """
    for offset, mark, name in _MARKS:
        if source.startswith(mark, offset):
            return name
    if source.startswith(b"ftyp", 4):
        return _by_brands(source)
    if _PPM_MARK.match(source):
        return "PPM"
    if _SVG_MARK.match(source[:_TEXT_WINDOW_BYTES].removeprefix(_UTF8_MARK)):
        return "SVG"
    return "TGA" if source.endswith(_TARGA_FOOTER) else None


def is_text(source: bytes) -> bool:
    """Whether the beginning reads as text, as a saved error message does."""
    return _TEXT.fullmatch(source[:_TEXT_WINDOW_BYTES]) is not None


def _by_brands(source: bytes) -> str:
    """Tell the ISO base media files apart (ISO/IEC 14496-12: major brand, then compatible)."""
    end = min(int.from_bytes(source[:4], "big"), 256)
    brands = [source[8:12], *(source[at : at + 4] for at in range(16, end, 4))]
    if brands[0] in {b"mif1", b"msf1"}:  # any codec; the compatible brands tell which
        return "AVIF" if {b"avif", b"avis"} & set(brands) else "HEIF"
    if brands[0] in {b"avif", b"avis"}:
        return "AVIF"
    if brands[0] in {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}:
        return "HEIF"
    return "camera raw (CR3)" if brands[0] == b"crx " else "video (MP4 or QuickTime)"
