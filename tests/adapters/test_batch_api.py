"""The Batch API's client against the emulator: what goes wrong, and that nothing is made twice."""

import json

import pytest

from tests.adapters.batches import Desk, body
from vision_pipeline.core.batch import JobState


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
