"""From a file's pixels to those that are sent: decoded, scaled down, upright, plain sRGB."""

from __future__ import annotations

from PIL import Image

from vision_pipeline.core.image_colour import plain, resizable
from vision_pipeline.core.image_decoding import OpenedImage, load
from vision_pipeline.core.strict_decoding import load_strictly

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Magic Kernel Sharp 2013: as sharp as a reference resampled in floats, where Lanczos is 6 % softer
# behind a decoder that shrinks, and no slower than that (tests/benchmarks).
_FILTER = Image.Resampling.MKS2013

# Images whose decoder cannot shrink are first box-reduced, down to this many times the target.
_REDUCING_GAP = 1.15


def draw(
    opened: OpenedImage, upright_size: tuple[int, int], *, is_strict: bool
) -> tuple[Image.Image, str]:
    """The pixels, upright, at `upright_size`, RGB or L, sRGB; and a note as of `load_strictly`.

    Args:
        opened: Used up by this.
        upright_size: `(width, height)` in px.
        is_strict: Accept no JPEG of which some pixels are made up.

    Raises:
        ItemError: As `load_strictly`.
    """
    image, target = opened.image, opened.stored(upright_size)
    profile = image.info.get("icc_profile")
    box = _shrink_on_load(opened, target)
    note = ""
    if is_strict:
        image, note = load_strictly(opened)
    else:
        load(image)
    image = resizable(image)
    _release(opened.image, unless=image)
    if image.size != target:
        image = image.resize(target, _FILTER, box, _REDUCING_GAP)
        _release(opened.image, unless=image)
    if opened.orientation in _TURNS:
        image = image.transpose(_TURNS[opened.orientation])
    finished = plain(image, profile)
    finished.info = {}  # Pillow would write comments and profiles of the source into the new file
    return finished, note


def _release(source: Image.Image, *, unless: Image.Image) -> None:
    """Give the decoded source's memory back: what follows needs some, and the caller holds it."""
    if source is not unless:
        source.close()


def _shrink_on_load(
    opened: OpenedImage, target: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """Let the JPEG decoder skip detail that scaling would drop; never below `target`.

    Returns:
        The part of the decoded image that shows the source, in px: decoders round up.
    """
    drafted = opened.image.draft(None, target)
    return drafted[1] if drafted else None
