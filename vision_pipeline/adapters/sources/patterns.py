"""Which files of a folder are taken."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from vision_pipeline.core.errors import SourceError

_NAMES = """
    jpg jpeg jpe jfif jif mpo png apng gif webp avif avifs heic heif heics heifs hif jxl
    bmp dib tif tiff btf jp2 j2k j2c jpc jpf jpx jpm jxr wdp hdp ico cur icns
    pbm pgm ppm pnm pam pfm tga pcx dcx dds psd psb xcf exr hdr qoi sgi rgb bw xbm xpm
    svg svgz eps ps ai wmf emf djvu djv dcm fits
    cr2 cr3 nef arw dng orf rw2 raf
    pdf
"""
# Every suffix that says "image", decodable here or not: what is not becomes an error row, which
# somebody sees, where a skipped file would be silence.
IMAGE_SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())

_ARCHIVE = re.compile(r"\.(?:zip|tar|tar\.(?:gz|bz2|xz|zst)|t(?:gz|bz2|xz|zst))$")


class Patterns:
    """Patterns of `.gitignore` against relative paths, with no regard to case.

    Args:
        include: Takes these and no others; empty for every file with an image's suffix.
        exclude: Leaves these out, whatever `include` says.

    Raises:
        SourceError: A pattern is none.
    """

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = _compiled("include", include)
        self._exclude = _compiled("exclude", exclude)

    def reason_to_skip(self, relative: str) -> str | None:
        """`not_image`, `archive` or `excluded` for a file that is left out, else None."""
        lowered = relative.lower()
        if self.excludes(relative):
            return "excluded"
        if self._include is not None:
            return None if self._include.match_file(lowered) else "excluded"
        if has_image_suffix(relative):
            return None
        return "archive" if _ARCHIVE.search(lowered) else "not_image"

    def excludes(self, relative: str) -> bool:
        """Whether a pattern of `exclude` leaves the file out."""
        return self._exclude is not None and self._exclude.match_file(relative.lower())


def has_image_suffix(name: str) -> bool:
    """Whether a name says that it is an image or a document."""
    _, dot, suffix = name.lower().rpartition(".")
    return dot + suffix in IMAGE_SUFFIXES


def _compiled(key: str, patterns: Sequence[str]) -> GitIgnoreSpec | None:
    if not patterns:
        return None
    try:
        return GitIgnoreSpec.from_lines([pattern.lower() for pattern in patterns])
    except ValueError as error:
        raise SourceError(f"source.{key}: {error}") from error
