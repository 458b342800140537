"""Pages of what was judged: one file each, nothing loaded from elsewhere, everything escaped."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vision_pipeline.core.comparing.comparers import as_text
from vision_pipeline.core.errors import OutputError
from vision_pipeline.core.forecast import Interval
from vision_pipeline.results.evaluation.thumbnails import local_thumbnail

EVALUATION, DIFFERENCE, TUNING = "evaluation.html", "difference.html", "tuning.html"
Thumbnail = Callable[[str], bytes | None]
_SHOWN_CHARS = 2000
_MOST_CELLS, _MOST_IMAGES = 1000, 300  # of a page: a browser shows it at once, and it can be mailed


def fragment(template: str, found: object) -> str:
    """What a notebook shows: the figures, without images.

    Args:
        template: `EVALUATION` or `DIFFERENCE`, and
        found: an object of that kind.
    """
    return _render(template, found=found, picture=_no_picture, whole=False)


def write_found(
    template: str, found: object, path: Path, *, thumbnail: Thumbnail = local_thumbnail
) -> None:
    """Write a page of what was found, answers beside their images.

    Args:
        template: As for `fragment`.
        found: As for `fragment`.
        path: The file to write.
        thumbnail: An image's JPEG by its URI, or None.

    Raises:
        OutputError: It cannot be written.
    """
    write_page(_render(template, found=found, picture=_Pictures(thumbnail), whole=True), path)


def labelling_page(
    fields: Sequence[tuple[str, Sequence[str]]],
    listed: Sequence[Mapping[str, str]],
    *,
    file_name: str,
    thumbnail: Thumbnail,
) -> str:
    """A page on which a person corrects answers beside their images and saves them as CSV.

    Args:
        fields: Names, each with the answers that it allows; none where it allows any.
        listed: The cells of the CSV, row by row.
        file_name: The name to save it under.
        thumbnail: An image's JPEG by its URI, or None.
    """
    images = [_data_url(thumbnail(row["image_uri"])) for row in listed]
    return _render(
        "labelling.html", fields=fields, rows=listed, images=images, file_name=file_name, whole=True
    )


def write_page(text: str, path: Path) -> None:
    """Write a text file as it is.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


class _Pictures:
    """Data URLs of images, each drawn once."""

    def __init__(self, thumbnail: Thumbnail) -> None:
        self._thumbnail = thumbnail
        self._drawn: dict[str, str] = {}

    def __call__(self, uri: str) -> str:
        if uri not in self._drawn:
            there = len(self._drawn) < _MOST_IMAGES
            self._drawn[uri] = _data_url(self._thumbnail(uri)) if there else ""
        return self._drawn[uri]


def _no_picture(_: str) -> str:
    return ""


def _data_url(jpeg: bytes | None) -> str:
    return "" if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _render(template: str, **values: Any) -> str:  # noqa: ANN401
    return _templates().get_template(template).render(most=_MOST_CELLS, **values)


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("vision_pipeline.results.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}  # columns keep their order
    made.filters |= {"share": _share, "cell": _cell, "usd": _usd, "points": _points}
    return made


def _share(interval: Interval) -> str:
    return f"{interval.likely:.1%} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _points(gain: Interval) -> str:
    return f"{100 * gain.likely:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def _usd(cost: float | None) -> str:
    return "" if cost is None else f"{cost:.6f}"


def _cell(value: Any) -> str:  # noqa: ANN401
    """A value as text; lines stay lines."""
    if isinstance(value, dict) or (isinstance(value, list) and any(map(_has_parts, value))):
        text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    else:
        text = as_text(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _has_parts(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, dict | list)
