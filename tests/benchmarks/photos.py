"""A drawn photo, and how well an encoding shows it."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from skimage.metrics import structural_similarity

Floats = NDArray[np.float32]

SIZE = (3648, 2736)  # 10 megapixels
LANCZOS = Image.Resampling.LANCZOS
_LEAVES = 7_000
_LEAST_PX, _MOST_PX = 16, 900
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def drawn(size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture with the statistics of a photo: leaves of all sizes, textured, partly out of focus.

    Shapes that cover each other, as many of each size as scale invariance asks for, have the edges
    of natural scenes; noise of all octaves is the texture on them; a sensor adds a little grain.
    """
    chance = np.random.default_rng(7)
    scene = _leaves(chance, size)
    texture = _octaves(chance, size)
    lit = np.asarray(scene, np.float32) * (1 + 0.2 * texture[..., None])
    scene = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    distance = Image.linear_gradient("L").resize(size).point(lambda value: max(value - 110, 0))
    blurred = scene.filter(ImageFilter.GaussianBlur(6))
    scene = Image.composite(blurred, scene.filter(ImageFilter.GaussianBlur(0.8)), distance)
    grain = chance.normal(0, 5.0, (size[1], size[0], 3)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(scene) + grain, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int, *, subsampling: int = 2) -> bytes:
    """The image as JPEG, with halved chroma as cameras do."""
    written = BytesIO()
    image.save(written, "JPEG", quality=quality, subsampling=subsampling)
    return written.getvalue()


def reference(source: bytes, shape: tuple[int, ...]) -> Floats:
    """The luma of the whole picture, upright, resampled in floats by Lanczos's filter."""
    size = (shape[1], shape[0])
    with Image.open(BytesIO(source)) as stored:
        image = ImageOps.exif_transpose(stored)
        channels = [
            Image.fromarray(np.asarray(channel, np.float32)).resize(size, LANCZOS)
            for channel in image.convert("RGB").split()
        ]
    return np.clip(np.stack(channels, axis=-1), 0, 255) @ _LUMA


def luma(encoded: bytes) -> Floats:
    """The luma that an encoding shows."""
    with Image.open(BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"), np.float32) @ _LUMA


def similarity(seen: Floats, wanted: Floats) -> float:
    """SSIM as Wang et al. (2004) define it."""
    return structural_similarity(
        seen,
        wanted,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )


def sharpness(seen: Floats, wanted: Floats) -> float:
    """Mean steepness, as a ratio to the reference's."""
    return _steepness(seen) / _steepness(wanted)


def _steepness(values: Floats) -> float:
    return float(np.hypot(*np.gradient(values)).mean())


def _leaves(chance: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Ellipses and triangles that cover each other; density falls with the cube of the radius."""
    picture = Image.new("RGB", size, (120, 118, 110))
    draw = ImageDraw.Draw(picture)
    least, most = _LEAST_PX**-2.0, _MOST_PX**-2.0
    radii = (least - chance.random(_LEAVES) * (least - most)) ** -0.5
    centres = chance.uniform((0, 0), size, (_LEAVES, 2))
    offsets = chance.uniform(-1, 1, (_LEAVES, 3, 2)) * radii[:, None, None]
    corners = (centres[:, None] + offsets).reshape(_LEAVES, 6)
    spread = radii[:, None] * np.stack([np.ones(_LEAVES), chance.uniform(0.3, 1, _LEAVES)], -1)
    boxes = np.concatenate([centres - spread, centres + spread], -1)
    greys = chance.uniform(40, 215, (_LEAVES, 1)) + chance.normal(0, 12, (_LEAVES, 3))
    colours = np.clip(greys, 0, 255).astype(int)
    for number, colour in enumerate(map(tuple, colours.tolist())):
        if number % 2:
            draw.ellipse(boxes[number].tolist(), colour)
        else:
            draw.polygon(corners[number].tolist(), colour)
    return picture


def _octaves(chance: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Noise whose amplitude halves with each halving of its grain; about -1 to 1."""
    total = np.zeros(size[::-1], np.float32)
    for octave in range(11):
        grid = (4 * 2**octave * size[0] // max(size) + 2, 4 * 2**octave * size[1] // max(size) + 2)
        noise = Image.fromarray(chance.normal(0, 1, grid[::-1]).astype(np.float32))
        total += 0.7**octave * np.asarray(noise.resize(size, Image.Resampling.BICUBIC))
    return total * (0.5 / float(total.std()))
