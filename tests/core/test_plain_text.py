"""Text of others, shown on a terminal."""

import pytest

from vision_pipeline.core.plain_text import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("reçu 1.png: a cat", "reçu 1.png: a cat"),
        ("\x1b[31mbad\n.png", "\\x1b[31mbad\\x0a.png"),
        ("\x9b31m", "\\x9b31m"),
        ("gpj.\u202egnp", "gpj.\\u202egnp"),
    ],
)
def test_what_would_steer_a_terminal_is_shown_as_a_code(text, shown):
    assert plain(text) == shown
