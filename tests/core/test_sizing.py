"""The size at which an image is sent."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.sizing import SizeRule
from vision_pipeline.core.tokens import TokenRule

MISTRAL = SizeRule(max_side_px=1540, patch_px=28)
# Width, height and tokens, as the vendor's tokenizer counts an image that it is sent as it is
# (mistral_common; its test vectors at patches of 28 px and 1540 px).
VECTORS = [
    (100, 100, 20),
    (640, 480, 432),
    (1024, 768, 1064),
    (1280, 720, 1222),
    (1540, 1540, 3080),
    (1920, 1080, 1736),
    (3024, 4032, 2365),
    (4000, 3000, 2352),
    (10000, 200, 112),
    (1, 1, 2),
]
sides = st.integers(1, 12_000)
rules = st.builds(
    SizeRule,
    max_side_px=st.integers(16, 2_000),
    patch_px=st.sampled_from([14, 16, 28, 32]),
    max_tokens=st.one_of(st.none(), st.integers(2, 4_000)),
)


@pytest.mark.parametrize(("width", "height", "tokens"), VECTORS)
def test_what_is_sent_never_costs_more_than_the_original_would(width, height, tokens):
    assert MISTRAL.tokens((width, height)) == tokens
    assert MISTRAL.tokens(MISTRAL.sent(width, height)) <= tokens


@given(width=sides, height=sides, rule=rules)
def test_the_model_sees_what_is_sent_without_scaling_it_again(width, height, rule):
    sent = rule.sent(width, height)
    assert TokenRule(rule.patch_px, rule.max_side_px).scaled(*sent) == sent


@given(width=sides, height=sides, rule=rules)
def test_an_image_is_never_enlarged_and_keeps_its_bounds(width, height, rule):
    sent = rule.sent(width, height)
    assert 1 <= sent[0] <= width
    assert 1 <= sent[1] <= height
    assert max(sent) <= rule.max_side_px
    assert rule.max_tokens is None or rule.tokens(sent) <= rule.max_tokens


@given(width=sides, height=sides, rule=rules)
def test_the_aspect_is_kept_within_a_pixel(width, height, rule):
    sent = rule.sent(width, height)
    assert abs(sent[0] - sent[1] * width / height) <= max(1, width / height)
    assert abs(sent[1] - sent[0] * height / width) <= max(1, height / width)
    assert (
        abs(sent[0] - sent[1] * width / height) <= 1 or abs(sent[1] - sent[0] * height / width) <= 1
    )


@given(width=st.integers(1, 2_000), height=st.integers(1, 2_000), rule=rules)
def test_an_image_within_the_bounds_keeps_its_size(width, height, rule):
    roomy = replace(rule, max_side_px=max(width, height, rule.max_side_px))
    assert replace(roomy, max_tokens=None).sent(width, height) == (width, height)
    exact = replace(roomy, max_tokens=max(2, roomy.tokens((width, height))))
    assert exact.sent(width, height) == (width, height)


@given(width=sides, height=sides)
def test_no_more_than_three_percent_of_detail_is_given_up_for_full_patches(width, height):
    most = TokenRule(28, 1540).scaled(width, height)
    assert max(MISTRAL.sent(width, height)) >= 0.97 * max(most) - 1


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        ((6000, 4000), (1512, 1008)),  # 54 by 36 patches, all full; 1540 by 1027 has a torn row
        ((4000, 3000), (1531, 1148)),  # 41 full rows for 42 of which the last is a quarter full
        ((1920, 1080), (1540, 866)),  # 31 rows of which the last is 93 % full: nothing to gain
        ((800, 600), (800, 600)),
    ],
)
def test_sides_are_chosen_so_that_patches_are_full(size, sent):
    assert MISTRAL.sent(*size) == sent


def test_a_limit_of_tokens_is_used_as_far_as_it_goes():
    rule = SizeRule(max_side_px=1540, patch_px=28, max_tokens=300)
    sent = rule.sent(4000, 3000)
    assert sent == (523, 392)
    assert rule.tokens(sent) == 280  # 300 would buy a row of patches that is a quarter full


def test_the_smallest_limit_still_shows_something():
    rule = SizeRule(max_side_px=1540, patch_px=28, max_tokens=2)
    for size in [(4000, 3000), (28, 5000), (5000, 28), (1, 1), (20, 40), (40, 20)]:
        assert rule.tokens(rule.sent(*size)) == 2
