"""Images as they are shown beside their answers: upright, first frame, bounded in px and bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import pybase64
from PIL import Image

from vision_pipeline.core.errors import ErrorCode, ItemError
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.imaging import prepare
from vision_pipeline.core.members import leads_home, parse_member
from vision_pipeline.core.records import ImageRef, PreparedImage
from vision_pipeline.core.stores import extra_for

Draw = Callable[[ImageRef], PreparedImage]
"""Gives an image that can be shown in a browser; raises `ItemError` where there is none."""

FULL_SIDE_PX = 1200
THUMBNAIL_SIDE_PX = 360
THUMBNAIL_COLUMNS = ("item_id", "image_uri", "images")
_THUMBNAIL_QUALITY = 78
_THUMBNAIL_BYTES = 60_000
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(?:://|:(?=.*,))")
_PAGE = re.compile(r"#page=([1-9][0-9]{0,8})$")
_IN_FULL = re.compile(r"data:[^,]*;base64,[A-Za-z0-9+/=\s]+", re.ASCII)


def shown_settings(*, max_side_px: int = FULL_SIDE_PX, max_bytes: int) -> ImageSettings:
    """How an image is prepared to be shown: a JPEG within `max_side_px` and `max_bytes`."""
    return ImageSettings(
        max_side_px=max_side_px,
        patch_px=1,
        format="jpeg",
        quality=80,
        verify="structure",
        max_sent_bytes=max_bytes,
    )


def references(row: Mapping[str, Any]) -> list[ImageRef]:
    """The images of a row of the table, which has `image_uri` and `images`."""
    group = [image["uri"] for image in row["images"] or ()]
    return [_reference(uri) for uri in group or [row["image_uri"]]]


def draw_here(ref: ImageRef, settings: ImageSettings) -> PreparedImage:
    """An image out of a local file, a store that fsspec knows, a zip or tar, or a `data:` URL.

    It is decoded in this process. Nothing is fetched from the web.

    Raises:
        ItemError: It cannot be read, or not from here.
    """
    return prepare(_read(ref.uri, settings.max_source_bytes), settings, page=ref.page)


def shrunk(image: PreparedImage, max_side_px: int) -> bytes:
    """A smaller JPEG of an image that is one already."""
    with Image.open(BytesIO(image.data)) as opened:
        opened.draft(None, (max_side_px, max_side_px))
        opened.thumbnail((max_side_px, max_side_px), Image.Resampling.BICUBIC)
        small = opened.convert("RGB")
    written = BytesIO()
    small.save(written, "JPEG", quality=_THUMBNAIL_QUALITY)
    return written.getvalue()


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small image for a notebook, which shows it; or why there is none.

    Attributes:
        data: JPEG, or b"".
        why: "" where there is one.
    """

    data: bytes = field(repr=False)
    why: str = ""

    def _repr_mimebundle_(self, **_wanted: object) -> dict[str, Any]:
        if self.why:
            return {"text/plain": f"no image: {self.why}"}
        return {"image/jpeg": base64(self.data), "text/plain": "image"}


def thumbnails(
    refs: Sequence[ImageRef], *, draw: Draw | None = None, max_side_px: int
) -> list[Thumbnail]:
    """A thumbnail of each image, which never fails.

    Args:
        refs: The images.
        draw: Who gives them; `draw_here` if None.
        max_side_px: Longer side of each.
    """
    settings = shown_settings(max_side_px=max_side_px, max_bytes=_THUMBNAIL_BYTES)
    found = []
    for ref in refs:
        try:
            if draw is None:
                found.append(Thumbnail(draw_here(ref, settings).data))
            else:
                found.append(Thumbnail(shrunk(draw(ref), max_side_px)))
        except ItemError as error:
            found.append(Thumbnail(b"", error.detail))
    return found


def base64(data: bytes) -> str:
    """For a `data:` URL."""
    return pybase64.b64encode(data).decode()


def _reference(uri: str) -> ImageRef:
    found = _PAGE.search(uri)
    return ImageRef(uri[: found.start()], page=int(found[1])) if found else ImageRef(uri)


def _read(uri: str, max_bytes: int) -> bytes:
    found = _SCHEME.match(uri)
    scheme = found[1].lower() if found else None
    if scheme == "data":
        return _from_data_url(uri)
    if scheme in {"http", "https"}:
        raise ItemError(
            ErrorCode.BLOCKED_URL, "an image on the web, which is not fetched from here"
        )
    member = parse_member(uri)
    location = uri if member is None else member.container
    location_scheme = _SCHEME.match(location)
    if (member and member.scheme == "parquet") or not leads_home(
        location_scheme[1].lower() if location_scheme else None, location
    ):
        detail = f"images in {scheme}:// are not shown here; `vision-pipeline report` may show them"
        raise ItemError(ErrorCode.BLOCKED_URL, detail)
    return _from_files(uri, scheme, max_bytes)


def _from_files(uri: str, scheme: str | None, max_bytes: int) -> bytes:
    if scheme is None and not Path(uri).is_file():
        raise ItemError(ErrorCode.SOURCE_MISSING, "the file is not there any more")
    try:
        with fsspec.open(uri if scheme else f"file://{Path(uri).absolute()}") as file:
            data: bytes = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise ItemError(ErrorCode.SOURCE_MISSING, "it is not there any more") from error
    except Exception as error:  # each backend has its own
        detail = f"cannot be read: {error}{extra_for(uri)}"
        raise ItemError(ErrorCode.SOURCE_MISSING, detail) from error
    if len(data) > max_bytes:
        raise ItemError(ErrorCode.IMAGE_TOO_LARGE, f"larger than {max_bytes} bytes")
    return data


def _from_data_url(uri: str) -> bytes:
    if not _IN_FULL.fullmatch(uri):
        detail = "the table keeps only the beginning of a long data: URL"
        raise ItemError(ErrorCode.SOURCE_MISSING, detail)
    return bytes(pybase64.b64decode(uri.partition(",")[2]))
