"""The size at which an image is sent: as large as the model sees it, and no token for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vision_pipeline.core.tokens import TokenRule

# How much of each side may be given up so that the last row or column of patches is a full one.
# It buys 1 to 6 % of the tokens; less than 3 % of detail is not to be seen.
_LEAST_SCALE = 0.97

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SizeRule:
    """What bounds the size of an image as sent.

    Attributes:
        max_side_px: Longer side, at least 1.
        patch_px: Side of the squares that the model charges for, at least 1.
        max_tokens: Most input tokens for one image, at least 2, or None.
    """

    max_side_px: int
    patch_px: int
    max_tokens: int | None = None

    def sent(self, width_px: int, height_px: int) -> Size:
        """The `(width, height)` in px for an upright image of this size.

        Never larger; the aspect is kept within a pixel. An image that is within the bounds keeps
        its size. Of an image that has to be scaled down, the sides are chosen so that the grid of
        patches is filled best, at no more than 3 % less than the greatest size.
        """
        original = (width_px, height_px)
        largest = self._largest(original)
        if largest == original:
            return original
        least = _LEAST_SCALE * max(largest)
        near = [size for size in self._full(original, largest) if max(size) >= least]
        return max([largest, *near], key=lambda size: (self._filled(size), size))

    def tokens(self, size: Size) -> int:
        """Input tokens of an image sent at this size."""
        return TokenRule(self.patch_px, self.max_side_px).tokens(*size)

    def _largest(self, original: Size) -> Size:
        size = TokenRule(self.patch_px, self.max_side_px).scaled(*original)
        if self._fits(size):
            return size
        # The number of tokens grows only where a side passes a multiple of the patch.
        return max((full for full in self._full(original, size) if self._fits(full)), key=max)

    def _fits(self, size: Size) -> bool:
        return self.max_tokens is None or self.tokens(size) <= self.max_tokens

    def _full(self, original: Size, largest: Size) -> Iterator[Size]:
        """All sizes up to `largest` with a side that is a whole number of patches."""
        width, height = original
        for side in range(self.patch_px, largest[0] + 1, self.patch_px):
            yield side, min(max(round(height * side / width), 1), largest[1])
        for side in range(self.patch_px, largest[1] + 1, self.patch_px):
            yield min(max(round(width * side / height), 1), largest[0]), side

    def _filled(self, size: Size) -> float:
        """The share of the patches' area that shows the image, 0 to 1."""
        columns, rows = (-(-side // self.patch_px) for side in size)
        return size[0] * size[1] / (columns * rows * self.patch_px**2)
