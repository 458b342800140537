"""Limits and wishes for the preparation of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vision_pipeline.core.sizing import SizeRule

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How images are prepared.

    Attributes:
        max_side_px: Longer side of what is sent, at least 1. 1540 is all that Mistral's models see.
        patch_px: Side of the squares that the model charges for.
        max_tokens: Most input tokens that one image may cost, or None.
        format: `auto` leaves the choice; the others force every image into that format.
        quality: JPEG quality of what is encoded here, 1 to 95.
        strip_metadata: Cut metadata out of files that are not encoded here. Those that are never
            carry any.
        verify: `full` decodes also what goes out untouched, and takes no JPEG of which pixels are
            lost; `structure` only follows its container to the end mark.
        max_source_bytes: A larger source is refused.
        max_source_pixels: A source whose header states more is refused before it is decoded.
        max_pages: A document of more pages is refused, unless one of its pages is named.
        max_sent_bytes: The provider's limit for one image; larger ones are compressed harder.
    """

    max_side_px: int = 1540
    patch_px: int = 28
    max_tokens: int | None = None
    format: Literal["auto", "jpeg", "png"] = "auto"
    quality: int = 90
    strip_metadata: bool = True
    verify: Literal["full", "structure"] = "full"
    max_source_bytes: int = 100 * _MEBIBYTE
    max_source_pixels: int = 100_000_000
    max_pages: int = 1000
    max_sent_bytes: int = 10 * _MEBIBYTE

    @property
    def sizes(self) -> SizeRule:
        """What bounds the size of an image as sent."""
        return SizeRule(self.max_side_px, self.patch_px, self.max_tokens)
