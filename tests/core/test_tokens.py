"""Image tokens, exactly as the vendor's tokenizer counts them; text tokens, roughly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.tokens import DEFAULT_RULE, TokenRule, text_tokens

PIXTRAL = TokenRule(patch_px=16, max_side_px=1024)

sizes = st.integers(1, 20_000)
rules = st.builds(TokenRule, patch_px=st.integers(1, 64), max_side_px=st.integers(1, 4096))


@pytest.mark.parametrize(
    ("width_px", "height_px", "tokens", "pixtral_tokens"),
    [
        (100, 100, 20, 56),
        (640, 480, 432, 1230),
        (1024, 768, 1064, 3120),
        (1280, 720, 1222, 2340),
        (1540, 1540, 3080, 4160),
        (1920, 1080, 1736, 2340),
        (3024, 4032, 2365, 3136),
        (4000, 3000, 2352, 3120),
        (10_000, 200, 112, 130),
        (1, 1, 2, 2),
        (700, 979, 910, 2790),  # the vendor's receipt, counted in printed usage
        (455, 251, 162, 480),  # the vendor's old page
        (1024, 683, 950, 2795),  # the vendor's stadium
    ],
)
def test_image_tokens_are_exact(width_px, height_px, tokens, pixtral_tokens):
    assert DEFAULT_RULE.tokens(width_px, height_px) == tokens
    assert PIXTRAL.tokens(width_px, height_px) == pixtral_tokens


@given(rules, sizes, sizes)
def test_an_image_costs_at_least_two_tokens_and_at_most_a_full_square(rule, width_px, height_px):
    most = rule.tokens(rule.max_side_px, rule.max_side_px)
    assert 2 <= rule.tokens(width_px, height_px) <= most


@given(rules, sizes, sizes)
def test_an_image_is_never_enlarged_and_always_fits(rule, width_px, height_px):
    width, height = rule.scaled(width_px, height_px)
    assert 1 <= width <= min(width_px, rule.max_side_px)
    assert 1 <= height <= min(height_px, rule.max_side_px)


@given(rules, sizes, sizes)
def test_an_image_scaled_before_it_is_sent_costs_the_same(rule, width_px, height_px):
    assert rule.tokens(*rule.scaled(width_px, height_px)) == rule.tokens(width_px, height_px)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("   ", 0),
        ("word", 1),
        ("extraordinary", 3),
        ("2026", 4),
        ("a b\n\nc", 4),
        ("snake_case", 3),
        ("Ünïcödé …", 3),
    ],
)
def test_text_tokens_count_words_digits_and_signs(text, tokens):
    assert text_tokens(text) == tokens


@given(st.text() | st.text('a"\ud800\udfff'))
def test_any_text_has_a_number_of_tokens_that_is_no_more_than_its_characters(text):
    assert 0 <= text_tokens(text) <= len(text)
