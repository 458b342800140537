"""How many input tokens an image and a text cost."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenRule:
    """How many input tokens an image costs.

    Source: mistral_common's image tokenizer. An image is scaled down to fit `max_side_px` on its
    longer side, cut into patches of `patch_px`, and costs one token a patch and one a row.
    """

    patch_px: int
    max_side_px: int

    def scaled(self, width_px: int, height_px: int) -> tuple[int, int]:
        """The size, `(width, height)` in px, at which the model sees an image; never larger."""
        ratio = max(width_px / self.max_side_px, height_px / self.max_side_px)
        if ratio <= 1:
            return width_px, height_px
        return max(round(width_px / ratio), 1), max(round(height_px / ratio), 1)

    def tokens(self, width_px: int, height_px: int) -> int:
        """The exact number of input tokens for an image of this size."""
        width, height = self.scaled(width_px, height_px)
        columns = (width - 1) // self.patch_px + 1
        rows = (height - 1) // self.patch_px + 1
        return (columns + 1) * rows


DEFAULT_RULE = TokenRule(patch_px=28, max_side_px=1540)  # all living Mistral vision models

# Framing of a conversation, from usage printed in the vendor's vision page (2026-08): 3 tokens
# around a lone user message, 5 with a system message before it.
USER_FRAME_TOKENS = 3
SYSTEM_FRAME_TOKENS = 2

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+|\n+")
_LETTERS_PER_TOKEN = (
    6  # English words of up to 6 letters are mostly one token of the tekken vocabulary
)


def text_tokens(text: str) -> int:
    """An estimate of the tokens of a text: words in pieces of six letters, digits one by one."""
    return sum(
        -(-len(piece) // _LETTERS_PER_TOKEN) if piece[0].isalpha() else 1
        for piece in _PIECES.findall(text)
    )
