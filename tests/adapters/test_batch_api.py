"""The Batch API's client against the emulator: what goes wrong, and that nothing is made twice."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.adapters.batches import KEY, Desk, Time, body, client
from tests.servers import free_port
from vision_pipeline.adapters.batch_api.calls import SETTLE_S
from vision_pipeline.adapters.batch_api.client import NEW_JOB_S
from vision_pipeline.core.batch import JobState
from vision_pipeline.core.batch_forms import MISTRAL
from vision_pipeline.core.errors import (
    AccessError,
    ConfigError,
    EndpointError,
    GoneError,
    RefusedFileError,
    StorageError,
)
from vision_pipeline.emulator.script import Step


@pytest.fixture
def file(tmp_path):
    """Writes an input file."""

    def write(desk, *texts, **fields):
        path = tmp_path / "in.jsonl"
        lines = [desk.api.line(str(n), body(text, **fields)) for n, text in enumerate(texts)]
        path.write_bytes(b"".join(lines))
        return path

    return write


async def results_of(api, job):
    return {each.custom_id: each async for each in api.results(job)}


async def test_a_file_goes_up_and_results_come_down(file):
    desk = Desk()
    file_id = await desk.api.upload(file(desk, "a", "b"), "run-1.jsonl")
    assert await desk.api.find_file("run-1.jsonl") == file_id
    made = await desk.api.create(file_id=file_id, metadata={"run": "1"}, timeout_h=24)
    assert (made.state, made.total, made.metadata) == (JobState.QUEUED, 0, {"run": "1"})
    assert not made.is_final
    job = await desk.api.job(made.id)
    assert (job.state, job.total, job.completed, job.failed) == (JobState.SUCCESS, 2, 2, 0)
    assert job.is_final
    results = await results_of(desk.api, job)
    assert {key: each.status for key, each in results.items()} == {"0": 200, "1": 200}
    assert json.loads(results["0"].body)["choices"]
    assert (await desk.api.find_job({"run": "1"})).id == job.id
    assert await desk.api.find_job({"run": "2"}) is None
    await desk.api.delete_file(file_id)
    await desk.api.delete_file(file_id)
    assert await desk.api.find_file("run-1.jsonl") is None


async def submitted(desk, path, **metadata):
    file_id = await desk.api.upload(path, "in.jsonl")
    return await desk.api.create(file_id=file_id, metadata=metadata or {"run": "1"}, timeout_h=24)


async def test_an_upload_outlasts_a_bad_gateway(file):
    desk = Desk(
        script=(Step(after_s=0, faults={"upload_502": 1}), Step(after_requests=1, faults={}))
    )
    assert await desk.api.upload(file(desk, "a"), "in.jsonl")
    assert (await desk.counts())["uploads"] == 1


async def test_an_upload_whose_answer_was_lost_is_found_and_not_repeated(file):
    desk = Desk(faults={"upload_lost": 1})
    file_id = await desk.api.upload(file(desk, "a"), "in.jsonl")
    assert (await desk.counts())["uploads"] == 1
    assert await desk.api.find_file("in.jsonl") == file_id


async def test_a_file_of_that_name_and_another_size_is_not_taken_for_the_one_lost(file):
    desk = Desk()
    first = await desk.api.upload(file(desk, "another"), "in.jsonl")
    await desk.faults(upload_lost=1)
    assert await desk.api.upload(file(desk, "a"), "in.jsonl") != first
    assert (await desk.counts())["uploads"] == 2


async def test_a_job_whose_answer_was_lost_is_found_and_not_repeated(file):
    desk = Desk(faults={"job_lost": 1})
    job = await submitted(desk, file(desk, "a"))
    assert (await desk.counts())["jobs"] == 1
    assert (await desk.api.job(job.id)).state is JobState.SUCCESS


async def test_an_inline_job_whose_answer_was_lost_is_not_repeated_either():
    desk = Desk(faults={"job_lost": 1})
    assert desk.api.inline
    job = await desk.api.create_inline(
        [desk.api.line("a", body())], metadata={"run": "1"}, timeout_h=24
    )
    assert (await desk.counts())["jobs"] == 1
    job = await desk.api.job(job.id)
    carried = replace(job, result_files=())  # as where such jobs write none
    assert await results_of(desk.api, carried) == await results_of(desk.api, job)


async def test_a_job_is_made_again_when_none_has_shown_up_for_a_while(file):
    desk = Desk(script=(Step(after_s=0, faults={"job_502": 1}), Step(after_requests=2, faults={})))
    began_s = desk.time.now_s
    await submitted(desk, file(desk, "a"))
    assert (await desk.counts())["jobs"] == 1
    assert desk.time.now_s - began_s >= SETTLE_S


async def test_a_job_that_is_not_found_at_first_is_waited_for(file):
    desk = Desk(faults={"job_hidden": 1}, batch_hidden_s=9)
    job = await submitted(desk, file(desk, "a"))
    assert (await desk.api.job(job.id)).state is JobState.SUCCESS


async def test_a_job_that_is_never_found_is_gone(file):
    desk = Desk()
    with pytest.raises(GoneError, match=r"404.*not found"):
        await desk.api.job("nobody")
    assert sum(desk.time.naps) >= NEW_JOB_S
    with pytest.raises(GoneError):
        await desk.api.cancel("nobody")


async def test_looking_outlasts_bad_gateways_and_not_for_ever(file):
    desk = Desk()
    job = await submitted(desk, file(desk, "a"))
    await desk.faults(poll_502=0.7)
    assert (await desk.api.job(job.id)).id == job.id
    assert (await desk.api.find_job({"run": "1"})).id == job.id
    await desk.faults(poll_502=1)
    desk.time.naps.clear()
    with pytest.raises(EndpointError, match=r"HTTP 502.*attempts in 6\d\d s"):
        await desk.api.job(job.id)
    assert 500 < sum(desk.time.naps) <= 600


@pytest.mark.parametrize(
    ("fault", "state"), [("job_failed", JobState.FAILED), ("job_stuck", JobState.TIMED_OUT)]
)
async def test_a_doomed_job_ends_without_results(file, fault, state):
    desk = Desk(faults={fault: 1}, batch_hour_s=1)
    job = await submitted(desk, file(desk, "a"))
    desk.time.now_s += 100
    job = await desk.api.job(job.id)
    assert (job.state, job.result_files) == (state, ())
    assert (job.cause == "Batch job failed (1 times)") is (state is JobState.FAILED)
    assert await results_of(desk.api, job) == {}


async def test_a_cancelled_job_may_have_results_and_is_cancelled_once(file):
    desk = Desk(batch_run_s=100)
    job = await submitted(desk, file(desk, *"abcdefghij"))
    desk.time.now_s += 50
    assert (await desk.api.cancel(job.id)).state is JobState.CANCELLING
    desk.time.now_s += 10
    job = await desk.api.job(job.id)
    assert (job.state, job.completed) == (JobState.CANCELLED, 6)
    assert job.created_at < job.ended_at
    assert len(await results_of(desk.api, job)) == 6
    assert (await desk.api.cancel(job.id)).state is JobState.CANCELLED


async def test_lines_that_failed_come_with_their_status_and_json(file):
    desk = Desk(faults={"line_http_500": 0.5})
    job = await desk.api.job((await submitted(desk, file(desk, *map(str, range(20))))).id)
    results = await results_of(desk.api, job)
    failed = [each for each in results.values() if each.status == 500]
    assert job.state is JobState.SUCCESS
    assert job.cause == f"HTTP Error, status code: 500 ({len(failed)} times)"
    assert (len(results), len(failed)) == (20, job.failed)
    assert all(isinstance(json.loads(each.body), dict) for each in results.values())


async def test_a_download_that_comes_cut_is_taken_again(file, caplog):
    desk = Desk()
    job = await desk.api.job((await submitted(desk, file(desk, *map(str, range(50))))).id)
    await desk.faults(output_cut=0.4, output_twice=0.2)
    assert len(await results_of(desk.api, job)) == 50
    assert not caplog.records


async def test_of_a_file_that_is_always_cut_what_can_be_read_is_taken(file, caplog):
    desk = Desk(faults={"output_cut": 1})
    job = await desk.api.job((await submitted(desk, file(desk, *map(str, range(50))))).id)
    assert 20 <= len(await results_of(desk.api, job)) < 30
    assert [record.message.split(";")[-1] for record in caplog.records] == [
        *caplog.messages[:1],
        " left out",
    ]
    assert caplog.messages[1].startswith("1 lines of results")


async def test_lines_without_a_mark_and_marks_given_twice_do_no_harm(tmp_path):
    desk = Desk()
    path = tmp_path / "in.jsonl"
    lines = [{"custom_id": None}, {"custom_id": "a"}, {"custom_id": "a"}, {}]
    asked = json.loads(body())
    path.write_text("".join(json.dumps(line | {"body": asked}) + "\n" for line in lines))
    job = await desk.api.job((await submitted(desk, path)).id)
    assert [each.custom_id async for each in desk.api.results(job)] == ["a", "a"]


async def test_a_refused_file_names_its_lines_and_their_marks(tmp_path):
    desk = Desk()
    path = tmp_path / "in.jsonl"
    lines = [desk.api.line(f"m{n}", body(temperature=9 if n % 2 else 0)) for n in range(10)]
    path.write_bytes(b"".join(lines))
    with pytest.raises(
        RefusedFileError, match=r"5 of its lines: line 2 \(m1\): .*; and 2 more"
    ) as refused:
        await desk.api.upload(path, "in.jsonl")
    assert [(fault.number, fault.custom_id) for fault in refused.value.faults] == [
        (number, f"m{number - 1}") for number in (2, 4, 6, 8, 10)
    ]
    assert (await desk.counts())["uploads"] == 0


async def test_what_does_not_pass_is_said_at_once_and_without_the_key(file):
    desk = Desk(most_file_bytes=10)
    path = file(desk, "a" * 100_000)
    with pytest.raises(RefusedFileError, match=r"input of that size.*413") as error:
        await desk.api.upload(path, "in.jsonl")
    assert KEY not in str(error.value)
    desk = Desk(api_key="another")
    with pytest.raises(AccessError, match=r"refuses the key.*401"):
        await desk.api.upload(path, "in.jsonl")
    desk = Desk()
    file_id = await desk.api.upload(path, "in.jsonl")
    api = client(desk.transport, desk.time, model="unheard-of")
    with pytest.raises(EndpointError, match=r"no such model.*model\.name.*unheard-of"):
        await api.create(file_id=file_id, metadata={"a": "b"}, timeout_h=24)
    with pytest.raises(GoneError, match="does not have it"):
        await desk.api.create(file_id="none", metadata={"a": "b"}, timeout_h=24)
    with pytest.raises(EndpointError, match="timeout_hours"):
        await desk.api.create(file_id=file_id, metadata={"a": "b"}, timeout_h=0)
    assert not desk.time.naps
    assert (await desk.counts())["jobs"] == 0


def denied(*arguments, **options):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


async def test_a_file_that_is_too_large_or_cannot_be_read_is_not_sent(tmp_path, monkeypatch):
    desk = Desk()
    path = tmp_path / "large.jsonl"
    with path.open("wb") as sparse:
        sparse.truncate(MISTRAL.max_file_bytes + 1)
    with pytest.raises(RefusedFileError, match="takes files of 536870912"):
        await desk.api.upload(path, "in.jsonl")
    monkeypatch.setattr(Path, "open", denied)
    small = tmp_path / "small.jsonl"
    small.touch()
    with pytest.raises(StorageError, match="Permission denied"):
        await desk.api.upload(small, "in.jsonl")
    with pytest.raises(StorageError, match="No such file"):
        await desk.api.upload(tmp_path / "none", "in.jsonl")
    lines = [b"{}"] * (MISTRAL.max_inline_requests + 1)
    with pytest.raises(RefusedFileError, match="10001 lines"):
        await desk.api.create_inline(lines, metadata={"a": "b"}, timeout_h=1)


async def test_lists_are_read_to_their_last_page(file):
    desk = Desk()
    path = file(desk, "a")
    first = await desk.api.upload(path, "run-1.jsonl")
    for _ in range(100):
        await desk.api.upload(path, "run-11-run-1.jsonl")
    assert await desk.api.find_file("run-1.jsonl") == first
    made = [
        await desk.api.create(file_id=first, metadata={"run": str(n)}, timeout_h=1)
        for n in range(101)
    ]
    assert (await desk.api.find_job({"run": "0"})).id == made[0].id
    assert (await desk.api.find_job({})).id == made[-1].id


async def test_regional_endpoints_have_no_batches():
    time = Time()
    api = client(None, time, base_url="https://api.eu.mistral.ai/v1")
    with pytest.raises(ConfigError, match=r"model\.base_url: .*regional endpoints"):
        await api.find_file("a")
    await api.aclose()


async def test_a_server_that_is_not_there_is_given_up_soon():
    time = Time()
    api = client(None, time, base_url=f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(EndpointError, match="does not answer"):
        await api.find_file("a")
    await api.aclose()
    assert len(time.naps) == 2


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_goes_wrong_at_once_nothing_is_made_twice_and_no_result_is_lost(file, seed):
    desk = Desk(
        seed=seed,
        batch_run_s=20,
        faults={
            "upload_502": 0.2,
            "upload_lost": 0.3,
            "job_502": 0.2,
            "job_lost": 0.3,
            "job_hidden": 0.3,
            "poll_502": 0.3,
            "output_cut": 0.2,
            "output_twice": 0.1,
            "line_http_500": 0.2,
        },
    )
    jobs = []
    for number in range(4):
        path = file(desk, *(f"{number}: {line}" for line in range(25)))
        file_id = await desk.api.upload(path, f"{number}.jsonl")
        jobs.append(
            await desk.api.create(file_id=file_id, metadata={"part": str(number)}, timeout_h=24)
        )
    desk.time.now_s += 60
    for job in jobs:
        ended = await desk.api.job(job.id)
        assert ended.state is JobState.SUCCESS
        assert len(await results_of(desk.api, ended)) == 25
    counted = await desk.counts()
    assert (counted["uploads"], counted["jobs"]) == (4, 4)
    assert counted["faults"]
