import orjson
import pytest

from vision_pipeline.core.batch_parts import Part, from_document, to_document

PART = Part(3, 1, "r-0003.jsonl", 2, {"k1": "a", "k2": "b"}, 0.5, 1000, state="collected")


def test_a_part_is_the_same_after_json():
    part = Part(1, 2, "n", 1, {"k": "i"}, failures={"k": (400, "no")}, is_inline=True, job_id="j")
    assert from_document(orjson.loads(orjson.dumps(to_document(part)))) == part


def test_answers_may_come_until_it_is_collected():
    assert not PART.is_open
    assert Part(1, 1, "n", 0, {}, state="submitted").is_open


@pytest.mark.parametrize("document", [{}, {"failures": {}, "odd": 1}, {"failures": {"k": [1]}}])
def test_what_is_no_part_is_refused(document):
    with pytest.raises((LookupError, TypeError, ValueError)):
        from_document(document)


def test_a_state_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="no such state: 'foo'"):
        from_document(to_document(PART) | {"state": "foo"})


def test_a_part_may_have_a_job_once_its_file_is_there_or_without_one_at_once():
    assert not Part(1, 1, "n", 0, {}).may_have_job
    assert Part(1, 1, "n", 0, {}, is_inline=True).may_have_job
    assert Part(1, 1, "n", 0, {}, state="uploaded").may_have_job
    assert not PART.may_have_job
