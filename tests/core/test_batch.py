import json

import orjson
import pytest

from vision_pipeline.core.batch import (
    NOT_RUN,
    OVERLONG,
    JobState,
    mark_of,
    overlong_result,
    read_result,
    read_row,
)
from vision_pipeline.core.batch_forms import MISTRAL, OPENAI, form_for
from vision_pipeline.core.protocol import BrokenReplyError

BODY = b'{"messages":[]}'


def line(custom_id="a", **fields):
    return orjson.dumps({"id": "batch-1", "custom_id": custom_id, "error": None, **fields})


def test_a_state_is_final_when_nothing_more_comes():
    going_on = {JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING}
    assert {state for state in JobState if not state.is_final} == going_on


def test_an_answer_keeps_its_body():
    result = read_result(line(response={"status_code": 200, "body": {"choices": [1]}}))
    assert (result.custom_id, result.status, result.body) == ("a", 200, b'{"choices":[1]}')
    assert "choices" not in repr(result)


def test_the_body_of_an_error_may_be_json_in_a_string():
    told = json.dumps({"detail": "bad"})
    assert read_result(line(response={"status_code": 400, "body": told})).body == told.encode()


def test_an_error_without_a_response_is_a_request_that_was_not_made():
    error = {"code": "batch_expired", "message": "late"}
    result = read_result(line(response=None, error=error))
    assert (result.status, orjson.loads(result.body)) == (NOT_RUN, {"error": error})


def test_half_a_character_in_an_answer_is_kept():
    raw = rb'{"custom_id":"a","response":{"status_code":200,"body":{"text":"\ud83d"}}}'
    assert read_result(raw).body == rb'{"text": "\ud83d"}'


def test_an_answer_nested_without_end_loses_its_body_alone():
    nested = {}
    for _ in range(100_000):
        nested = {"n": nested}
    row = {"custom_id": "a", "response": {"status_code": 200, "body": nested}}
    assert read_row(row).body == b""
    while nested:  # level by level: to free it at once takes the stack
        nested = nested.pop("n")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"custom_id": "a", "resp',
        b"[]",
        b"7",
        b'{"n":' * 100_000,
        line(None, response={"status_code": 200, "body": {}}),
        line(7, response={"status_code": 200, "body": {}}),
        line(response={"status_code": None}),
        line(response=[]),
        line(),
    ],
)
def test_what_is_cut_odd_or_marked_by_nobody_is_no_result(raw):
    assert read_result(raw) is None


def test_a_line_that_is_too_long_is_told_by_its_mark():
    start = b'{"id": "x", "custom_id": "a\\"b", "response": {"bo'
    result = overlong_result(start, max_bytes=7)
    assert (result.custom_id, result.status) == ('a"b', OVERLONG)
    assert orjson.loads(result.body) == {"message": "the reply is larger than 7 bytes"}


@pytest.mark.parametrize("start", [b"", b'{"custom_id": null', b'{"custom_id":"a', b'{"id": "x"'])
def test_a_line_without_a_mark_has_none(start):
    assert mark_of(start) == ""
    assert overlong_result(start) is None


def test_lines_hold_the_body_as_it_is():
    assert MISTRAL.input_line('a"b', BODY) == b'{"custom_id":"a\\"b","body":{"messages":[]}}\n'
    assert orjson.loads(OPENAI.input_line("a", BODY)) == {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": []},
    }


def test_orders_of_the_two_forms():
    metadata = {"run": "1"}
    common = {"model": "m", "metadata": metadata, "timeout_h": 48}
    assert orjson.loads(MISTRAL.creation(file_id="f", **common)) == {
        "endpoint": "/v1/chat/completions",
        "model": "m",
        "timeout_hours": 48,
        "metadata": metadata,
        "input_files": ["f"],
    }
    inline = MISTRAL.inline_creation([MISTRAL.input_line("a", BODY)], **common)
    assert orjson.loads(inline)["requests"] == [{"custom_id": "a", "body": {"messages": []}}]
    assert orjson.loads(OPENAI.creation(file_id="f", **common)) == {
        "input_file_id": "f",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": metadata,
    }
    with pytest.raises(NotImplementedError):
        OPENAI.inline_creation([], **common)


@pytest.mark.parametrize("form", [MISTRAL, OPENAI])
def test_a_job_may_say_as_little_as_its_id_and_its_state(form):
    job = form.read_job({"id": "j", "status": "a state of next year"})
    assert (job.id, job.state, job.total, job.result_files) == ("j", JobState.RUNNING, 0, ())
    assert (job.cause, job.metadata, job.created_at, job.ended_at) == ("", {}, None, None)
    assert not job.is_final


@pytest.mark.parametrize("form", [MISTRAL, OPENAI])
@pytest.mark.parametrize(
    "document",
    [
        {},
        {"id": "j"},
        {"id": "", "status": "QUEUED"},
        {"id": None, "status": "QUEUED"},
        {"id": "j", "status": []},
        {"id": "j", "status": "QUEUED", "errors": 7},
        {"id": "j", "status": "QUEUED", "metadata": 7},
        [],
        "no job",
        None,
    ],
)
def test_what_is_no_job_is_not_taken_for_one(form, document):
    with pytest.raises(BrokenReplyError, match="no batch job"):
        form.read_job(document)


def test_counts_and_moments_that_make_no_sense_are_left_out():
    job = MISTRAL.read_job(
        {"id": "j", "status": "SUCCESS", "total_requests": -1, "created_at": 1e300}
    )
    assert (job.state, job.total, job.created_at) == (JobState.SUCCESS, 0, None)


def test_a_job_of_mistral_tells_its_causes():
    errors = [{"message": f"status code: {n}", "count": 2} for n in range(7)]
    job = MISTRAL.read_job(
        {
            "id": "j",
            "status": "SUCCESS",
            "total_requests": 14,
            "completed_requests": 14,
            "failed_requests": 14,
            "error_file": "e",
            "errors": errors,
            "metadata": {"n": 1},
        }
    )
    assert job.cause.startswith("status code: 0 (2 times); ")
    assert job.cause.endswith("; and 2 more")
    assert (job.result_files, job.metadata) == (("e",), {"n": "1"})


def test_pages_go_on_until_one_is_not_full():
    query = MISTRAL.files_query("a")
    assert MISTRAL.next_page(query, {"data": [{}] * 99}) is None
    assert MISTRAL.next_page(query, {"data": [{}] * 100})["page"] == "1"
    query = OPENAI.jobs_query({})
    assert OPENAI.next_page(query, {"data": [{"id": "x"}], "has_more": False}) is None
    assert OPENAI.next_page(query, {"data": [{}], "has_more": True}) is None
    assert OPENAI.next_page(query, {"data": [{"id": "x"}], "has_more": True})["after"] == "x"


def test_metadata_that_is_called_like_another_filter_is_not_asked_for():
    query = MISTRAL.jobs_query({"model": "m", "page": "7", "run": "1"})
    assert query == {"run": "1", "order_by": "-created", "page": "0", "page_size": "100"}


def test_each_provider_has_its_form():
    forms = {form_for("mistral"), form_for("emulator")}
    assert (forms, form_for("openai")) == ({MISTRAL}, OPENAI)
