"""Image tokens against the vendor's published tokenizer."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from mistral_common.protocol.instruct.chunk import ImageChunk
from mistral_common.tokens.tokenizers.image import ImageConfig, ImageEncoder, SpecialImageIDs
from PIL import Image

from vision_pipeline.core.tokens import TokenRule

IDS = SpecialImageIDs(1, 2, 3)
P28, P16 = ImageConfig(14, 1540, 2), ImageConfig(16, 1024)
SHARED = Path(__file__).parents[3] / "shared" / "data"
PICTURES = [path for path in SHARED.rglob("*") if path.is_file()] if SHARED.is_dir() else []
NO_PICTURE = (OSError, ValueError, NotImplementedError, Image.DecompressionBombError)

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
    encoded = ImageEncoder(P28, IDS)(ImageChunk(image=Image.new("RGB", size)))
    assert len(encoded.tokens) == TokenRule(28, 1540).tokens(*size)


RULES = [(P28, TokenRule(28, 1540)), (P16, TokenRule(16, 1024))]


def vendors(config, size):
    """Tokens by the vendor's count of patches, which needs no pixels."""
    columns, rows = ImageEncoder(config, IDS)._image_to_num_tokens(Image.new("1", size))
    return (columns + 1) * rows


@pytest.mark.parametrize(("config", "rule"), RULES)
def test_the_rule_agrees_with_the_vendors_tokenizer_for_many_sizes(config, rule):
    dice = random.Random(0)
    near = [rule.max_side_px * factor + step for factor in (1, 2) for step in (-1, 0, 1)]
    near += [rule.patch_px * count + step for count in (1, 7, 55) for step in (-1, 0, 1)]
    sizes = [(width, height) for width in near for height in near]
    sizes += [(round(10 ** dice.uniform(0, 3.7)), dice.randint(1, 5000)) for _ in range(2000)]
    assert [size for size in sizes if vendors(config, size) != rule.tokens(*size)] == []


@pytest.mark.filterwarnings("ignore")  # some are made to be odd
@pytest.mark.skipif(not PICTURES, reason="the shared pictures are not here")
@pytest.mark.parametrize(("config", "rule"), RULES)
def test_the_rule_agrees_with_the_vendors_tokenizer_for_all_pictures(config, rule):
    sizes = set()
    for path in PICTURES:
        with suppress(*NO_PICTURE), Image.open(path) as picture:
            sizes.add(picture.size)
    assert len(sizes) > 50
    assert [size for size in sizes if vendors(config, size) != rule.tokens(*size)] == []
