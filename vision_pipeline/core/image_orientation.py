"""Which way up an opened image is to be shown."""

from __future__ import annotations

import re

from PIL import ExifTags, Image, TiffImagePlugin

# Attribute or element, in either kind of quotes: XML has both.
_XMP_ORIENTATION = re.compile(rb"""tiff:Orientation(?:\s*=\s*["']|>)\s*([1-8])""")


def stated_orientation(image: Image.Image) -> int:
    """The EXIF orientation, else XMP's, that the stored pixels still need; 1 where there is none.

    Of a TIFF that is XMP's alone, since Pillow turns it by the tag when it decodes: it would turn
    by XMP as well, but the size that it states before is turned by the tag only.

    Args:
        image: Opened, not decoded; of a TIFF, this makes the decoder forget XMP.

    Raises:
        Exception: Whatever the decoder says of metadata that are damaged.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        xmp = image.info.pop("xmp", None)
        return 1 if ExifTags.Base.Orientation in image.tag_v2 else _in_xmp(xmp)
    # Of AVIF, this is the container's own turn.
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    if orientation is None:
        return _in_xmp(image.info.get("XML:com.adobe.xmp") or image.info.get("xmp"))
    return orientation if orientation in range(1, 9) else 1


def _in_xmp(xmp: object) -> int:
    encoded = xmp.encode() if isinstance(xmp, str) else xmp
    found = _XMP_ORIENTATION.search(encoded) if isinstance(encoded, bytes) else None
    return int(found[1]) if found else 1
