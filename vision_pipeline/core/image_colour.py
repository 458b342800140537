"""From any colour model that a decoder gives to plain 8-bit sRGB or grey on white."""

from __future__ import annotations

import math
from functools import lru_cache
from io import BytesIO
from typing import cast

from PIL import Image, ImageCms, ImageMath

_WIDE = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}
_OTHER = {  # modes that Pillow cannot resize well, and what they become without loss
    "1": "L",
    "La": "LA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
}
_MAX_8_BIT, _MAX_16_BIT = 255, 65535
_HIGH_BYTE = [value >> 8 for value in range(_MAX_16_BIT + 1)]

# A profile that moves no probe colour by more than this is sRGB under another name. sRGB profiles
# of different makers differ by 1 or 2 of 255, grey gamma 2.2 by 6; Display P3 by more than 14.
_SAME_COLOUR = 8
_PROBES = (
    *((value, value, value) for value in range(0, 256, 51)),
    (200, 50, 50),
    (50, 200, 50),
    (50, 50, 200),
)


def is_plain(image: Image.Image) -> bool:
    """Whether the pixels are 8-bit sRGB or grey without transparency as they are stored."""
    if image.mode not in {"RGB", "L", "P", "1"} or image.has_transparency_data:
        return False
    profile = image.info.get("icc_profile")
    return not profile or _is_srgb(profile, "L" if image.mode in {"L", "1"} else "RGB")


def resizable(image: Image.Image) -> Image.Image:
    """The image in a mode that is scaled without artefacts: L, LA, RGB, RGBA or CMYK."""
    if image.mode in _WIDE:
        return _narrow(image)
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode in _OTHER:
        image = image.convert(_OTHER[image.mode])
    if image.mode in {"P", "PA"} or "transparency" in image.info:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def plain(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A resizable image as RGB or L in sRGB, its transparent parts on white.

    A profile that is broken or belongs to another colour model is ignored.
    """
    flat = _on_white(image)
    if profile and not _is_srgb(profile, flat.mode):
        flat = _to_srgb(flat, profile)
    return flat.convert("RGB") if flat.mode == "CMYK" else flat


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode not in {"LA", "RGBA"}:
        return image
    mode = image.mode[:-1]
    white = Image.new(mode, image.size, "white")
    white.paste(image.convert(mode), mask=image.getchannel("A"))
    return white


def _narrow(image: Image.Image) -> Image.Image:
    """One channel of 16 or 32 bits or of floats as 8-bit grey.

    Sixteen bits keep their high byte, as viewers do. Wider values have no agreed white: they are
    stretched from the least to the greatest, unless they fit 8 or 16 bits.
    """
    transparent = image.info.get("transparency")
    if image.mode.startswith("I;16"):
        wide = image.convert("I")
        grey = wide.point(_HIGH_BYTE, "L")
        return grey if transparent is None else _with_mask(grey, wide, transparent)
    low, high = cast("tuple[float, float]", image.getextrema())
    if image.mode == "I" and low >= 0 and _MAX_8_BIT < high <= _MAX_16_BIT:
        return image.point(_HIGH_BYTE, "L")
    if low >= 0 and (high > 1 or image.mode == "I") and high <= _MAX_8_BIT:
        return image.convert("L")
    if not (high > low and math.isfinite(high - low)):
        return image.convert("L")
    scale = _MAX_8_BIT / (high - low)
    return image.convert("F").point(lambda value: value * scale - low * scale).convert("L")


def _with_mask(grey: Image.Image, wide: Image.Image, transparent: int) -> Image.Image:
    opaque = ImageMath.lambda_eval(
        lambda given: given["convert"]((given["wide"] != transparent) * _MAX_8_BIT, "L"), wide=wide
    )
    return Image.merge("LA", (grey, opaque))


def _from_lab(image: Image.Image) -> Image.Image:
    lab = ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(lab, ImageCms.createProfile("sRGB"), "LAB", "RGB")
    return transform.apply(image)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        coloured = _transform(profile, image.mode).apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return coloured.convert("L") if image.mode == "L" else coloured


@lru_cache(maxsize=16)  # a collection mostly has one or two profiles; one of CMYK takes 0.5 MB
def _is_srgb(profile: bytes, mode: str) -> bool:
    """Whether the profile can be left out: it is sRGB, broken, or of another colour model."""
    if mode == "CMYK":
        return False
    probe = Image.new("RGB", (len(_PROBES), 1))
    probe.putdata(_PROBES)
    probe = probe.convert(mode)
    try:
        seen = _transform(profile, mode).apply(probe)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return True
    pairs = zip(probe.convert("RGB").tobytes(), seen.tobytes(), strict=True)
    return all(abs(before - after) <= _SAME_COLOUR for before, after in pairs)


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
