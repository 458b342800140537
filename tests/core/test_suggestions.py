"""What somebody may have meant."""

import pytest

from vision_pipeline.core.suggestions import nearest


@pytest.mark.parametrize(
    ("name", "hint"),
    [("qualty", "; did you mean `quality`?"), ("zzz", ""), ("", "")],
)
def test_a_hint_names_the_nearest_or_nothing(name, hint):
    assert nearest(name, ["quality", "format"]) == hint
