"""Two thousand damaged files through the whole preparation: an image or an item error, no more."""

from __future__ import annotations

import asyncio
from io import BytesIO
from random import Random

import pytest
from PIL import Image, features

from tests.conftest import SHARED_DATA
from vision_pipeline.adapters.preparation import Preparer, WorkerLimits
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.records import PreparedImage, SourceImage

FILES = 2_000
MOST_BYTES = 60_000  # of a file from the shared collection
ALLOWED = {
    ErrorCode.UNREADABLE_IMAGE,
    ErrorCode.UNSUPPORTED_FORMAT,
    ErrorCode.IMAGE_TOO_LARGE,
}
LIMITS = WorkerLimits(max_s=20, max_bytes=1024**3)
SETTINGS = ImageSettings(max_source_pixels=4_000_000, max_side_px=300)


def picture(mode: str = "RGB") -> Image.Image:
    noise = Image.effect_noise((80, 60), 60)
    bands = [noise, noise.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Image.new("L", (80, 60), 90)]
    return Image.merge("RGB", bands).convert(mode)


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    written = BytesIO()
    picture(mode).save(written, kind, **options)
    return written.getvalue()


def several() -> dict[str, object]:
    return {"save_all": True, "append_images": [picture(), picture()]}  # saving changes them


def seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[274] = 6
    files = [
        saved("JPEG", exif=exif),
        saved("JPEG", progressive=True),
        saved("JPEG", "CMYK"),
        saved("MPO", **several()),
        saved("PNG", exif=exif),
        saved("PNG", "P"),
        saved("PNG", "I;16"),
        saved("PNG", **several()),
        saved("GIF", "P"),
        saved("GIF", "P", **several()),
        saved("WEBP", exif=exif),
        saved("WEBP", lossless=True),
        saved("WEBP", **several()),
        saved("BMP"),
        saved("ICO", "RGBA"),
        saved("PPM"),
        saved("TIFF", **several()),
        *(saved("TIFF", compression=each) for each in ("tiff_lzw", "tiff_deflate", "jpeg")),
        saved("TIFF", "1", compression="group4"),
        saved("PDF", **several()),
    ]
    optional = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
    files += [saved(kind) for kind, needs in optional.items() if features.check(needs)]
    collection = sorted((SHARED_DATA / "nasty").glob("*/*")) if SHARED_DATA.exists() else []
    return files + [path.read_bytes() for path in collection if path.stat().st_size < MOST_BYTES]


def mutated(random: Random, files: list[bytes]) -> bytes:
    data = bytearray(random.choice(files))
    for _ in range(random.randint(1, 8)):
        at = random.randrange(len(data) + 1)
        match random.randrange(6):
            case 0:  # a flipped bit
                data[at : at + 1] = bytes(
                    value ^ 1 << random.randrange(8) for value in data[at : at + 1]
                )
            case 1:  # an extreme number
                value = random.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF])
                width = random.choice([1, 2, 4])
                order = random.choice(["big", "little"])
                data[at : at + width] = (value % 256**width).to_bytes(width, order)
            case 2:  # a cut
                del data[at : at + random.choice([1, 4, 100, len(data)])]
            case 3:  # something repeated
                data[at:at] = data[at : at + random.randint(1, 300)]
            case 4:  # noise
                data[at : at + 4] = random.randbytes(random.randint(0, 8))
            case _:  # the end of another file
                other = random.choice(files)
                data[at:] = other[random.randrange(len(other) + 1) :]
    if random.random() < 0.7:  # most keep the mark of their format, or no decoder would see them
        data[:16] = random.choice(files)[:16] if random.random() < 0.1 else data[:16]
    return bytes(data)


async def outcome(preparer: Preparer, data: bytes) -> PreparedImage | ItemError:
    try:
        return await preparer.prepare(SourceImage(data), page=None, max_sent_bytes=10_000_000)
    except ItemError as error:
        return error


@pytest.mark.parametrize("seed", [1])
async def test_damaged_files_give_an_image_or_an_item_error_and_never_hang(seed):
    random, files = Random(seed), seeds()
    preparer = Preparer(SETTINGS, LIMITS, workers=2)
    try:
        damaged = [mutated(random, files) for _ in range(FILES)]
        outcomes = []
        for start in range(0, FILES, 50):
            some = [outcome(preparer, data) for data in damaged[start : start + 50]]
            outcomes += await asyncio.gather(*some)
    finally:
        preparer.close()
    errors = [each for each in outcomes if isinstance(each, ItemError)]
    assert {error.code for error in errors} <= ALLOWED
    assert not [error.detail for error in errors if "took longer" in error.detail]
    images = [each for each in outcomes if isinstance(each, PreparedImage)]
    for image in images:
        assert max(image.width_px, image.height_px) <= 300
        assert Image.open(BytesIO(image.data)).size == (image.width_px, image.height_px)
    # A run in which nearly nothing was opened, or nothing refused, would have shown little.
    assert min(len(images), len(errors)) > FILES // 10
