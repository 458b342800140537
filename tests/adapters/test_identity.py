"""Ids that are unique within a source."""

import pytest

from vision_pipeline.adapters.sources.identity import UniqueIds
from vision_pipeline.core.errors import SourceError


def test_an_id_is_told_again_among_many():
    ids, wanted = UniqueIds(), [f"{number}.jpg" for number in range(20_000)]
    assert [ids.distinct(each) for each in wanted] == wanted
    assert [ids.distinct(each) for each in wanted] == [f"{each} (2)" for each in wanted]
    assert ids.distinct("7.jpg") == "7.jpg (3)"


def test_an_id_that_a_suffix_made_is_taken():
    ids = UniqueIds()
    given = [ids.distinct(each) for each in ("a", "a", "a (2)", "", "")]
    assert given == ["a", "a (2)", "a (2) (2)", "", " (2)"]


def test_an_id_that_must_be_there_once_is_refused_among_many():
    ids = UniqueIds()
    for number in range(20_000):
        ids.once(str(number), where="m.csv, row 1")
    with pytest.raises(SourceError, match="row 9: the id '5' is there a second time"):
        ids.once("5", where="m.csv, row 9")
