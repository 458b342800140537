"""What a scanner or a phone's camera makes of a page, the same on every machine."""

from __future__ import annotations

import random

from PIL import Image, ImageChops, ImageFilter, ImageOps


def as_scanned(image: Image.Image, *, seed: int) -> Image.Image:
    """The page turned by a degree, a little soft, grey and noisy."""
    scan = image.convert("L").rotate(
        -1.2, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=205
    )
    scan = scan.filter(ImageFilter.GaussianBlur(0.7))
    noise = _grain(scan.size, seed=seed, cells=scan.size).point(lambda value: 120 + value // 16)
    return ImageChops.add(scan, noise, scale=1, offset=-132)


def on_a_table(sheet: Image.Image, *, seed: int) -> Image.Image:
    """The sheet photographed at a slight angle, with a shadow and light from the upper left."""
    size = (1160, 1440)
    paper = Image.new("RGB", size)
    paper.paste(sheet, (150, 180))
    mask = Image.new("L", size)
    mask.paste(255, (150, 180, 150 + sheet.width, 180 + sheet.height))
    # Output point to source point: a turn by about 2 degrees and a top edge that lies further off.
    bend = (1.02, 0.035, -46, -0.035, 1.03, 2, 0.0, 0.00004)
    method, soft = Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
    paper, mask = (part.transform(size, method, bend, resample=soft) for part in (paper, mask))
    shadow = ImageChops.offset(mask, 14, 18).filter(ImageFilter.GaussianBlur(16))
    dark = Image.new("RGB", size, "#2a1b10")
    table = Image.composite(dark, _wood(size, seed=seed), shadow.point(lambda value: value // 2))
    photo = Image.composite(paper, table, mask)
    light = Image.linear_gradient("L").rotate(180).resize(size)
    light = light.point(lambda value: 205 + value // 5)
    photo = ImageChops.multiply(photo, Image.merge("RGB", (light, light, light)))
    return photo.filter(ImageFilter.GaussianBlur(0.6))


def _wood(size: tuple[int, int], *, seed: int) -> Image.Image:
    fine = _grain(size, seed=seed, cells=(6, 240))
    broad = _grain(size, seed=seed + 1, cells=(3, 60))
    return ImageOps.colorize(ImageChops.blend(fine, broad, 0.5), "#5f4025", "#b58a5b")


def _grain(size: tuple[int, int], *, seed: int, cells: tuple[int, int]) -> Image.Image:
    """Seeded grey noise of `cells`, scaled up to `size`."""
    noise = random.Random(seed).randbytes(cells[0] * cells[1])
    return Image.frombytes("L", cells, noise).resize(size, Image.Resampling.BICUBIC)
