"""Image tokens against the vendor's published tokenizer."""

from __future__ import annotations

import pytest
from mistral_common.protocol.instruct.chunk import ImageChunk
from mistral_common.tokens.tokenizers.image import ImageConfig, ImageEncoder, SpecialImageIDs
from PIL import Image

from vision_pipeline.core.tokens import TokenRule

VECTORS = [
    ((100, 100), 20, 56),
    ((640, 480), 432, 1230),
    ((1024, 768), 1064, 3120),
    ((1280, 720), 1222, 2340),
    ((1540, 1540), 3080, 4160),
    ((1920, 1080), 1736, 2340),
    ((3024, 4032), 2365, 3136),
    ((4000, 3000), 2352, 3120),
    ((10000, 200), 112, 130),
    ((1, 1), 2, 2),
]


@pytest.mark.parametrize(("size", "merged", "plain"), VECTORS)
def test_the_rule_gives_the_documented_counts(size, merged, plain):
    assert TokenRule(28, 1540).tokens(*size) == merged
    assert TokenRule(16, 1024).tokens(*size) == plain


@pytest.mark.parametrize("size", [(100, 100), (455, 251), (333, 777), (1700, 90), (1, 1)])
def test_the_rule_agrees_with_the_vendors_tokenizer(size):
    encoder = ImageEncoder(ImageConfig(14, 1540, 2), SpecialImageIDs(1, 2, 3))
    encoded = encoder(ImageChunk(image=Image.new("RGB", size)))
    assert len(encoded.tokens) == TokenRule(28, 1540).tokens(*size)
