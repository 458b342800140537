"""What it costs to prepare an image, beside libvips and Pillow as they are usually used."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import mean, median

from PIL import Image, ImageOps

from tests.benchmarks import photos
from tests.benchmarks.report import section, table
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.imaging import prepare

SETTINGS = ImageSettings()
SOURCE_QUALITY = 90
USUAL_QUALITY = 85
PASSED = 100
PASSED_SIZE, PASSED_BYTES = (1440, 1080), 290_000
FOLDER = "BENCH_PHOTOS"  # names a folder of photos of one's own, to hold the drawn one against
OWN_PX = 9_900_000  # smaller ones would have to be enlarged

_TURN = Image.Transpose.ROTATE_90
_Maker = Callable[[bytes, tuple[int, int]], bytes]


def photo(rounds: int) -> str:
    """A photo of 10 megapixels (JPEG, quality 90, 4:2:0) to 1540 px.

    CPU time is that of the whole process, libvips bound to one thread. SSIM and sharpness (mean
    gradient) are those of the luma, against the whole picture resampled in floats. libvips encodes
    at the product's quality and chroma, Pillow "as usual" at 85 and halved chroma.
    """
    drawn = {"the drawn photo": photos.jpeg(photos.drawn(), SOURCE_QUALITY)}
    parts = [_compared(drawn, rounds)]
    if own := _own():
        parts += [f"{len(own)} photos from cameras, scaled to the same size and quality; means:"]
        parts += [_compared(own, rounds)]
    return section("Photo", rounds, photo.__doc__, *parts)


def passed(rounds: int) -> str:
    """A JPEG of 290 kB within the limits: its pixels stay as they are."""
    source = _passed_source()
    settings = {verify: replace(SETTINGS, verify=verify) for verify in ("structure", "full")}
    found: dict[str, list[float]] = {verify: [] for verify in settings}
    for _ in range(rounds):
        for verify, wished in settings.items():
            spent = cpu_ms(lambda wished=wished: [prepare(source, wished) for _ in range(PASSED)])
            found[verify].append(spent / PASSED)
    rows = [(f"verify: {verify}", f"{median(spent):.2f}") for verify, spent in found.items()]
    return section("Pass-through", rounds, passed.__doc__, table(("", "CPU ms an image"), rows))


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU time of this process, all of its threads, in ms."""
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1000


def product(source: bytes, _size: tuple[int, int]) -> bytes:
    """The product; it chooses the size that the others are given."""
    return prepare(source, SETTINGS).data


def usual(source: bytes, size: tuple[int, int]) -> bytes:
    """As most programs do it."""
    with Image.open(BytesIO(source)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return photos.jpeg(upright.resize(size, photos.LANCZOS), USUAL_QUALITY)


def thumbnail(source: bytes, size: tuple[int, int]) -> bytes:
    """As Pillow's documentation shows it: shrinks while decoding, then bicubic."""
    with Image.open(BytesIO(source)) as image:
        ImageOps.exif_transpose(image, in_place=True)
        image.thumbnail(size)
        return photos.jpeg(image, USUAL_QUALITY)


def _libvips() -> _Maker | None:
    """libvips' fastest way, on one thread and without its cache of results; None without it."""
    try:
        import pyvips
    except (ImportError, OSError):  # OSError: the package is there, the library is not
        return None
    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)

    def made(source: bytes, size: tuple[int, int]) -> bytes:
        small = pyvips.Image.thumbnail_buffer(source, size[0], height=size[1], size="force")
        return small.jpegsave_buffer(Q=SETTINGS.quality, keep="none")

    return made


def _compared(sources: dict[str, bytes], rounds: int) -> str:
    """One table: every way, interleaved."""
    makers = {
        "libvips, thumbnail_buffer": _libvips(),
        "the product": product,
        "Pillow as usual": usual,
        "Pillow, thumbnail": thumbnail,
    }
    found = {
        name: [_Found(source, maker) for source in sources.values()]
        for name, maker in makers.items()
        if maker is not None
    }
    for _ in range(rounds):
        for each in zip(*found.values()):  # the same photo, one way after the other
            for one in each:
                one.measure()
    rows = []
    floor = found.get("libvips, thumbnail_buffer")
    for name in makers:
        seen = found.get(name)
        if seen is None:
            rows.append((name, "not installed", *[""] * 4))
            continue
        cells = [f"{mean(one.ms for one in seen):.0f}"]
        cells.append(f"{mean(map(_Found.ratio, seen, floor)):.2f}" if floor else "")
        cells += [f"{min(one.ssim for one in seen):.3f}"]
        cells += [f"{mean(one.sharpness for one in seen):.2f}"]
        cells += [f"{mean(one.size for one in seen) / 1000:.0f}"]
        rows.append((name, *cells))
    source_mb = mean(map(len, sources.values())) / 1_000_000
    head = (f"from {source_mb:.1f} MB", "CPU ms", "ratio", "least SSIM", "sharpness", "kB")
    return table(head, rows)


class _Found:
    """One way with one photo."""

    def __init__(self, source: bytes, maker: _Maker) -> None:
        self._source, self._maker = source, maker
        prepared = prepare(source, SETTINGS)
        self._target = (prepared.width_px, prepared.height_px)
        self._spent: list[float] = []
        made = maker(source, self._target)
        seen = photos.luma(made)
        wanted = photos.reference(source, seen.shape)
        self.size = len(made)
        self.ssim = photos.similarity(seen, wanted)
        self.sharpness = photos.sharpness(seen, wanted)

    def measure(self) -> None:
        self._spent.append(cpu_ms(lambda: self._maker(self._source, self._target)))

    @property
    def ms(self) -> float:
        return median(self._spent)

    def ratio(self, floor: _Found) -> float:
        """The median of the ratios of each round: both then had the same neighbours."""
        return median(mine / other for mine, other in zip(self._spent, floor._spent))


def _own() -> dict[str, bytes]:
    """Photos of one's own, cut and scaled to the same size and quality as the drawn one."""
    folder = os.environ.get(FOLDER)
    found = {}
    for path in sorted(Path(folder).glob("*.jpg")) if folder else ():
        with Image.open(path) as image:
            if image.width * image.height >= OWN_PX:
                lying = image if image.width > image.height else image.transpose(_TURN)
                fitted = ImageOps.fit(lying.convert("RGB"), photos.SIZE, photos.LANCZOS)
                found[path.name] = photos.jpeg(fitted, SOURCE_QUALITY)
    return found


def _passed_source() -> bytes:
    picture = photos.drawn(PASSED_SIZE)
    tried = map(partial(photos.jpeg, picture), range(95, 20, -1))
    return next(data for data in tried if len(data) <= PASSED_BYTES)
