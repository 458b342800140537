"""Small pictures of images on this machine, for pages."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageOps

_MOST_PIXELS = 200_000_000
_QUALITY = 80


def local_thumbnail(uri: str, *, side_px: int = 320) -> bytes | None:
    """An image upright as JPEG, or None for one that is elsewhere or cannot be read.

    Args:
        uri: A path, or `file://` and a path; of other places nothing is fetched.
        side_px: The longer side at most.
    """
    path = Path(uri.removeprefix("file://"))
    with suppress(Exception):  # whatever a decoder raises: a page does without that picture
        if not path.is_file():
            return None
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                return None
            image.draft("RGB", (2 * side_px, 2 * side_px))
            image.thumbnail((side_px, side_px))
            upright = ImageOps.exif_transpose(image).convert("RGBA")
        white = Image.new("RGBA", upright.size, "white")
        drawn = io.BytesIO()
        Image.alpha_composite(white, upright).convert("RGB").save(drawn, "JPEG", quality=_QUALITY)
        return drawn.getvalue()
    return None
