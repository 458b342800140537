"""The vendor's own Python client with files and batch jobs."""

from __future__ import annotations

import json

import pytest
from mistralai.client import Mistral, errors

MODEL, ENDPOINT = "mistral-small-latest", "/v1/chat/completions"


@pytest.fixture
def client(start):
    api = start(batch_queue_s=0, batch_run_s=0)
    with Mistral(api_key="test", server_url=api.base_url) as client:
        yield client


@pytest.fixture
def waiting(start):
    with Mistral(api_key="test", server_url=start(batch_queue_s=1000).base_url) as client:
        yield client


def upload(client, *lines):
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return client.files.upload(file={"file_name": "in.jsonl", "content": content}, purpose="batch")


def ended(client, job_id, **query):
    while (job := client.batch.jobs.get(job_id=job_id, **query)).status in ("QUEUED", "RUNNING"):
        pass
    return job


def test_the_client_uploads_creates_polls_and_downloads(client, ask):
    file = upload(client, ask("a"), ask("b", n=2))
    assert (file.num_lines, file.sample_type, file.source) == (2, "batch_request", "upload")
    made = client.batch.jobs.create(
        input_files=[file.id], model=MODEL, endpoint=ENDPOINT, metadata={"run": "7"}
    )
    assert (made.status, made.total_requests) == ("QUEUED", 0)
    job = ended(client, made.id)
    assert (job.status, job.succeeded_requests, job.failed_requests) == ("SUCCESS", 1, 1)
    assert [(error.message, error.count) for error in job.errors] == [
        ("HTTP Error, status code: 400", 1)
    ]
    [row] = client.files.download(file_id=job.output_file).read().splitlines()
    assert json.loads(row)["response"]["body"]["usage"]["prompt_tokens"] == 4
    [row] = client.files.download(file_id=job.error_file).read().splitlines()
    assert json.loads(row)["response"]["status_code"] == 400


def test_the_client_asks_and_is_answered_inline(client, ask):
    made = client.batch.jobs.create(requests=[ask("a")], model=MODEL, endpoint=ENDPOINT)
    job = ended(client, made.id, inline=True)
    assert [row["custom_id"] for row in job.outputs] == ["a"]


def test_the_client_lists_jobs_by_metadata_and_status_and_cancels(waiting, ask):
    jobs = [
        waiting.batch.jobs.create(
            requests=[ask()], model=MODEL, endpoint=ENDPOINT, metadata={"run": str(number)}
        )
        for number in range(2)
    ]
    found = waiting.batch.jobs.list(metadata={"run": "1"}, status=["QUEUED", "RUNNING"])
    assert [job.id for job in found.data] == [jobs[1].id]
    assert waiting.batch.jobs.cancel(job_id=jobs[1].id).status == "CANCELLED"
    assert waiting.batch.jobs.list(status=["CANCELLED"]).total == 1
    assert waiting.batch.jobs.delete(job_id=jobs[1].id).deleted
    with pytest.raises(errors.SDKError, match="404"):
        waiting.batch.jobs.get(job_id=jobs[1].id)


def test_the_client_keeps_files(client, ask):
    file = upload(client, ask())
    assert client.files.retrieve(file_id=file.id).size_bytes == file.size_bytes
    assert [listed.id for listed in client.files.list(search="in.", purpose="batch").data] == [
        file.id
    ]
    assert client.files.get_signed_url(file_id=file.id).url.startswith("http://")
    assert client.files.delete(file_id=file.id).deleted
    assert client.files.list().total == 0


def test_the_client_is_told_why_a_file_is_refused(client, ask):
    with pytest.raises(errors.MistralError) as refusal:
        upload(client, ask(temperature=9))
    assert refusal.value.status_code == 422
    assert json.loads(refusal.value.body)["errors"][0]["line_number"] == 1
