"""Opening and decoding of foreign image bytes: the one border to Pillow's decoders."""

from __future__ import annotations

import importlib
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageCms,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from vision_pipeline.core.decodable import decodable
from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_formats import (
    FORMATS_HINT,
    PLUGIN_FORMATS,
    PLUGIN_PACKAGES,
    is_text,
    recognise,
)
from vision_pipeline.core.image_orientation import stated_orientation
from vision_pipeline.core.tiff import TiffPages, tiff_pages

# What real damaged files made Pillow 12 and 13 raise, at opening or only at decoding.
DECODER_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImageCms.PyCMSError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)

_Decoder = Callable[[BytesIO, str], Image.Image]

# Called directly rather than through Image.open: nothing outside this list can start (EPS would
# run Ghostscript), and Pillow's process-wide pixel limit neither warns nor has to be changed.
_DECODERS: Mapping[str, _Decoder] = {
    "AVIF": AvifImagePlugin.AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "ICO": IcoImagePlugin.IcoImageFile,
    "JPEG": JpegImagePlugin.jpeg_factory,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}

# Decoders that turn the pixels themselves. JPEG XL and HEIF state the turn in the codestream or
# the container and rank it above EXIF, so that EXIF would turn twice.
_TURNED_BY_DECODER = frozenset({"HEIF", "JXL"})
_SIDEWAYS = range(5, 9)  # EXIF orientations that swap width and height
_UNKNOWN = 0
_PNG_ORIENTATION_MARKS = (b"eXIf", b"XML:com.adobe.xmp", b"Raw profile type")

_PILLOW_NOISE = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """An image whose header was read and whose pixels were not.

    Attributes:
        image: Pillow's image, as stored, decoded only on demand.
        source: The encoded file.
        size: `(width, height)` in px as stored; `image` tells a smaller one once it is drafted.
        orientation: EXIF orientation 1 to 8 that the stored pixels still need; 0: not known yet.
        pages: How many pages the file has; 1 for all but TIFF.
        leads_astray: As in `TiffPages`.
    """

    image: Image.Image
    source: bytes
    size: tuple[int, int]
    orientation: int
    pages: int = 1
    leads_astray: bool = False

    @property
    def format(self) -> str:
        """Pillow's name of the format, such as `JPEG` or `MPO`."""
        return str(self.image.format)

    @property
    def upright_size(self) -> tuple[int, int]:
        """`(width, height)` in px once turned."""
        return self.stored(self.size)

    def stored(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size as stored of one that is upright, and the reverse."""
        return size[::-1] if self.orientation in _SIDEWAYS else size


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder of the format `name` raises into an `ItemError`."""
    try:
        yield
    except Image.DecompressionBombError as error:
        detail = f"{name}: a picture in it has more px than image.max_source_pixels"
        raise ItemError(ErrorCode.IMAGE_TOO_LARGE, detail) from error
    except MemoryError as error:
        detail = f"{name}: decoding takes more memory than image.max_decode_bytes allows"
        raise ItemError(ErrorCode.IMAGE_TOO_LARGE, detail) from error
    except DECODER_ERRORS as error:
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"damaged {name}: {cause}") from error


def open_image(
    source: bytes,
    *,
    max_pixels: int,
    page: int | None = None,
    max_pages: int = 1,
    is_header_only: bool = False,
) -> OpenedImage:
    """Read an image's header, by its content alone.

    Args:
        source: The encoded file.
        max_pixels: Most pixels that its header may state.
        page: Which page, from 1; None for the first or only one.
        max_pages: Most pages that a document may have, if no page is named.
        is_header_only: Leave the pixels alone also where an orientation may stand behind them; it
            is 0 then.

    Raises:
        ItemError: `unreadable_image` for an empty or damaged file, one that is no image or has no
            such page, `unsupported_format` for one that is not decoded here, `image_too_large` for
            a header that states more than `max_pixels`, before any pixel is decoded.
    """
    _hush_pillow()
    name, decoder = _decoder(source)
    is_tiff = name == "TIFF"
    found = tiff_pages(BytesIO(source), most=max_pages) if is_tiff else TiffPages([0])
    frame = _frame(found.frames, page, max_pages)
    with decoding(name):
        readable = decodable(source, name)
        image = decoder(BytesIO(readable.data), "")
        if readable.profile is not None:
            image.info["icc_profile"] = readable.profile
        if frame:
            image.seek(frame)
        width, height = image.size
    if width * height > max_pixels:
        detail = f"{width} x {height} px are more than image.max_source_pixels ({max_pixels})"
        raise ItemError(ErrorCode.IMAGE_TOO_LARGE, detail)
    if not width * height:
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, f"damaged {name}: {width} x {height} px")
    orientation = _orientation(image, source, is_header_only=is_header_only)
    size, pages = (width, height), len(found.frames)
    return OpenedImage(image, source, size, orientation, pages, leads_astray=found.leads_astray)


def _frame(frames: list[int], page: int | None, max_pages: int) -> int:
    if page is None:
        check_pages(len(frames), max_pages)
        return frames[0]
    if not 1 <= page <= len(frames):
        detail = f"there is no page {page}: the file has {len(frames)}, counted from 1"
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail)
    return frames[page - 1]


def check_pages(count: int, max_pages: int) -> None:
    """Refuse a document of too many pages.

    Raises:
        ItemError: `image_too_large`.
    """
    if count > max_pages:
        detail = f"the document has more than image.max_pages ({max_pages}) pages"
        raise ItemError(ErrorCode.IMAGE_TOO_LARGE, detail)


def _decoder(source: bytes) -> tuple[str, _Decoder]:
    name = recognise(source)
    if name is None:
        what = "text" if is_text(source) else "no known image format"
        detail = f"the content is {what}" if source else "the file is empty"
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail)
    decoder = _DECODERS.get(name) or _plugin(name)
    if decoder is None:
        hint = f", or {FORMATS_HINT}" if name in PLUGIN_FORMATS else ""
        detail = f"{name} is not decoded here: convert it to JPEG, PNG or WebP{hint}"
        raise ItemError(ErrorCode.UNSUPPORTED_FORMAT, detail)
    return name, decoder


def _plugin(name: str) -> _Decoder | None:
    """The decoder of a Pillow plug-in, loaded when the first such file comes."""
    if name in PLUGIN_FORMATS and name not in Image.OPEN:
        with suppress(ImportError):
            package = importlib.import_module(PLUGIN_PACKAGES[name])
            if name == "HEIF":  # the others register themselves
                package.register_heif_opener()
    return Image.OPEN[name][0] if name in PLUGIN_FORMATS and name in Image.OPEN else None


def _orientation(image: Image.Image, source: bytes, *, is_header_only: bool) -> int:
    """As `stated_orientation`, where a decoder does not turn the pixels by itself."""
    if image.format in _TURNED_BY_DECODER:
        return 1
    if isinstance(image, PngImagePlugin.PngImageFile):
        if not any(mark in source for mark in _PNG_ORIENTATION_MARKS):
            return 1
        if is_header_only:
            return _UNKNOWN
        load(image)  # the chunk may stand behind the pixels
    try:
        return stated_orientation(image)
    except DECODER_ERRORS:
        return 1


def load(image: Image.Image) -> None:
    """Decode the pixels.

    Raises:
        ItemError: `unreadable_image` with the decoder's cause, or where it turned the pixels though
            the header does not say so: all sizes would be those of another picture.
    """
    stated = image.size
    with decoding(str(image.format)):
        image.load()
    if stated != image.size == stated[::-1]:
        (wide, high), name = image.size, image.format
        detail = f"damaged {name}: its header states {high} x {wide} px, its pixels {wide} x {high}"
        raise ItemError(ErrorCode.UNREADABLE_IMAGE, detail)


def _hush_pillow() -> None:
    """Keep Pillow's remarks about odd files from the log, and from turning into errors.

    `catch_warnings` would swap the process's filters under other threads; one entry that stays
    is safe, and it is put back where someone's `catch_warnings` dropped it.
    """
    if _PILLOW_NOISE not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
