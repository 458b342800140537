"""The Batch API's client with OpenAI's form, against a small server that speaks it."""

import json

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.adapters.batches import Time, body, client
from vision_pipeline.core.batch import NOT_RUN, JobState
from vision_pipeline.core.batch_forms import OPENAI
from vision_pipeline.core.errors import EndpointError, QueueError, RefusedFileError

DAY_S = 86_400
PAGE = 3  # of jobs and files, whatever is asked for


def refusal(status, code, message):
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status)


class Provider:
    """OpenAI's files and batches; what becomes of a job is set by the test."""

    def __init__(self):
        self.files = {}
        self.jobs = {}
        self.lost = set()
        self.app = Starlette(
            routes=[
                Route("/v1/files", self.upload, methods=["POST"]),
                Route("/v1/files", self.list_files, methods=["GET"]),
                Route("/v1/files/{id}", self.card, methods=["GET", "DELETE"]),
                Route("/v1/files/{id}/content", self.content),
                Route("/v1/batches", self.create, methods=["POST"]),
                Route("/v1/batches", self.list_jobs, methods=["GET"]),
                Route("/v1/batches/{id}", self.show),
                Route("/v1/batches/{id}/cancel", self.cancel, methods=["POST"]),
            ]
        )

    async def upload(self, request):
        async with request.form() as form:
            assert form["purpose"] == "batch"
            made = self.keep(form["file"].filename, await form["file"].read())
        return self.answer("upload", made)

    def keep(self, name, content, purpose="batch"):
        file_id = f"file-{len(self.files)}"
        card = {"id": file_id, "object": "file", "bytes": len(content), "filename": name}
        self.files[file_id] = (card | {"purpose": purpose}, content)
        return self.files[file_id][0]

    def answer(self, what, document):
        if what in self.lost:
            self.lost.discard(what)
            return Response(status_code=502)
        return JSONResponse(document)

    async def list_files(self, request):
        assert request.query_params["purpose"] == "batch"
        cards = [card for card, _ in self.files.values() if card["purpose"] == "batch"]
        return self.page(cards[::-1], request)

    async def list_jobs(self, request):
        return self.page([*self.jobs.values()][::-1], request)

    def page(self, rows, request):
        ids = [row["id"] for row in rows]
        first = (
            ids.index(request.query_params["after"]) + 1 if request.query_params.get("after") else 0
        )
        page = rows[first : first + PAGE]
        return JSONResponse({"object": "list", "data": page, "has_more": first + PAGE < len(rows)})

    async def card(self, request):
        if request.path_params["id"] not in self.files:
            return refusal(404, None, "No such File object")
        if request.method == "DELETE":
            del self.files[request.path_params["id"]]
            return JSONResponse({"deleted": True})
        return JSONResponse(self.files[request.path_params["id"]][0])

    async def content(self, request):
        return PlainTextResponse(self.files[request.path_params["id"]][1])

    async def create(self, request):
        order = await request.json()
        assert order["endpoint"] == "/v1/chat/completions"
        assert order["completion_window"] == "24h"
        job = {
            "id": f"batch_{len(self.jobs)}",
            "object": "batch",
            "errors": None,
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": DAY_S,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self.jobs[job["id"]] = job | order
        return self.answer("create", self.jobs[job["id"]])

    async def show(self, request):
        job = self.jobs.get(request.path_params["id"])
        return JSONResponse(job) if job else refusal(404, None, "No batch found")

    async def cancel(self, request):
        job = self.jobs[request.path_params["id"]]
        if job["status"] == "completed":
            return refusal(409, None, "Cannot cancel a batch with status 'completed'.")
        job["status"] = "cancelling"
        return JSONResponse(job)

    def become(self, job_id, status, **fields):
        self.jobs[job_id] |= {"status": status} | fields


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
def api(provider):
    return client(httpx.ASGITransport(provider.app), Time(), form=OPENAI)


@pytest.fixture
def file(tmp_path, api):
    path = tmp_path / "in.jsonl"
    path.write_bytes(api.line("a", body(model="gpt")) + api.line("b", body(model="gpt")))
    return path


async def submitted(api, file, **metadata):
    file_id = await api.upload(file, "in.jsonl")
    return await api.create(file_id=file_id, metadata=metadata or {"run": "1"}, timeout_h=24)


async def test_lines_jobs_and_results_have_the_other_form(provider, api, file):
    job = await submitted(api, file)
    assert (job.state, job.total, job.metadata) == (JobState.QUEUED, 0, {"run": "1"})
    assert not api.inline
    assert api.form.max_requests == 50_000
    line = json.loads(provider.files[provider.jobs[job.id]["input_file_id"]][1].splitlines()[0])
    assert line == {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": json.loads(body(model="gpt")),
    }
    answers = [{"id": "r", "custom_id": "a", "response": {"status_code": 200, "body": {"n": 1}}}]
    errors = [
        {"custom_id": "b", "response": {"status_code": 400, "body": {"error": {"code": "x"}}}},
        {"custom_id": "c", "response": None, "error": {"code": "batch_expired", "message": "late"}},
    ]
    files = [
        provider.keep("out", b"".join(json.dumps(row).encode() + b"\n" for row in rows), "output")
        for rows in (answers, errors)
    ]
    provider.become(
        job.id,
        "expired",
        output_file_id=files[0]["id"],
        error_file_id=files[1]["id"],
        expired_at=2 * DAY_S,
        request_counts={"total": 3, "completed": 1, "failed": 2},
    )
    job = await api.job(job.id)
    assert (job.state, job.total, job.completed, job.failed) == (JobState.TIMED_OUT, 3, 3, 2)
    assert (job.ended_at - job.created_at).days == 1
    assert [(each.custom_id, each.status) async for each in api.results(job)] == [
        ("a", 200),
        ("b", 400),
        ("c", NOT_RUN),
    ]


async def test_nothing_is_made_twice(provider, api, file):
    provider.lost |= {"upload", "create"}
    job = await submitted(api, file)
    assert (len(provider.files), len(provider.jobs)) == (1, 1)
    for number in range(2, 9):
        await submitted(api, file, run=str(number))
    provider.jobs["odd"] = {"id": "odd"}
    assert (await api.find_job({"run": "1"})).id == job.id
    assert await api.find_job({"run": "none"}) is None
    provider.keep("last.jsonl", b"")
    assert await api.find_file("in.jsonl") == "file-7"
    await api.delete_file("file-7")
    assert await api.find_file("in.jsonl") == "file-6"


async def test_a_job_that_has_ended_is_not_cancelled(provider, api, file):
    job = await submitted(api, file)
    assert (await api.cancel(job.id)).state is JobState.CANCELLING
    provider.become(job.id, "completed")
    assert (await api.cancel(job.id)).state is JobState.SUCCESS


@pytest.mark.parametrize(
    ("code", "is_full"), [("token_limit_exceeded", True), ("invalid_json_line", False)]
)
async def test_a_job_that_failed_says_why(provider, api, file, code, is_full):
    job = await submitted(api, file)
    errors = [{"code": code, "message": f"Fault {n}", "line": n or None} for n in range(9)]
    provider.become(job.id, "failed", errors={"data": errors}, failed_at=DAY_S)
    job = await api.job(job.id)
    assert (job.state, job.is_queue_full) == (JobState.FAILED, is_full)
    assert job.cause.startswith("Fault 0; line 1: Fault 1; ")
    assert job.cause.endswith("; and 4 more")
    assert [each async for each in api.results(job)] == []


async def test_a_queue_that_is_full_is_told_as_such(provider, file):
    async def full(request):
        return refusal(429, "rate_limit", "Enqueued token limit reached for m. Limit: 90,000")

    provider.app.router.routes.insert(0, Route("/v1/batches", full, methods=["POST"]))
    time = Time()
    api = client(httpx.ASGITransport(provider.app), time, form=OPENAI)
    with pytest.raises(QueueError, match=r"goes on later.*Enqueued token limit"):
        await submitted(api, file)
    assert not time.naps


async def test_refusals_by_rate_are_waited_out_as_long_as_the_server_says(provider, file):
    answers = [
        JSONResponse({"error": {"message": "slow down"}}, 429, headers={"retry-after": "42"})
    ]

    async def busy(request):
        return answers[0]

    route = Route("/v1/batches", busy, methods=["POST"])
    provider.app.router.routes.insert(0, route)
    time = Time()
    api = client(httpx.ASGITransport(provider.app), time, form=OPENAI)
    with pytest.raises(QueueError, match=r"slow down, after 15 attempts"):
        await submitted(api, file)
    assert set(time.naps) == {42.0}


async def test_a_wait_longer_than_any_outage_that_is_borne_is_not_begun(file):
    async def busy(request):
        return Response(status_code=503, headers={"retry-after": "7200"})

    time = Time()
    app = Starlette(routes=[Route("/v1/files", busy, methods=["GET", "POST"])])
    api = client(httpx.ASGITransport(app), time, form=OPENAI)
    with pytest.raises(EndpointError, match="after 1 attempts in 7200 s"):
        await api.upload(file, "in.jsonl")
    assert not time.naps


async def test_a_server_without_batches_is_told_as_such(file):
    api = client(httpx.ASGITransport(Starlette()), Time(), form=OPENAI)
    with pytest.raises(EndpointError, match=r"no Batch API here.*model\.base_url"):
        await api.upload(file, "in.jsonl")
    with pytest.raises(EndpointError, match="no Batch API here"):
        await api.find_job({"run": "1"})
    with pytest.raises(RefusedFileError, match="carries 0 itself"):
        await api.create_inline([b"{}"], metadata={}, timeout_h=24)


@pytest.mark.parametrize("said", [b"<html>", b"[]", b'{"data": 7}', b'{"object": "file"}'])
async def test_answers_without_sense_are_asked_for_again(file, said):
    async def odd(request):
        return Response(said)

    time = Time()
    app = Starlette(routes=[Route("/{path:path}", odd, methods=["GET", "POST"])])
    api = client(httpx.ASGITransport(app), time, form=OPENAI, max_elapsed_s=10)
    for call in (api.find_file("a"), api.job("b"), api.upload(file, "a")):
        with pytest.raises(EndpointError, match="attempts in"):
            await call
