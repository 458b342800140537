"""What goes wrong with files and batch jobs: by rate and by script, and what is counted of it."""

from __future__ import annotations

import json

import httpx
import pytest

from vision_pipeline.emulator.batch_faults import FAULTS_OF
from vision_pipeline.emulator.script import Step
from vision_pipeline.emulator.settings import EmulatorSettings


async def jobs_of(api):
    return (await api.http.get("/v1/batch/jobs")).json()["data"]


async def test_an_upload_meets_a_bad_gateway_and_passes_the_second_time(desk, ask):
    api = desk(
        script=(Step(after_s=0, faults={"upload_502": 1}), Step(after_requests=1, faults={}))
    )
    refused = await api.upload(ask())
    assert (refused.status_code, refused.headers["content-type"][:10]) == (502, "text/plain")
    assert (await api.http.get("/v1/files")).json()["total"] == 0
    assert (await api.upload(ask())).status_code == 200
    counted = await api.counts()
    assert (counted["uploads"], counted["uploads_refused"]) == (1, 1)
    assert counted["faults"] == {"upload_502": 1}


async def test_an_upload_whose_answer_is_lost_has_taken_place(desk, ask):
    api = desk(faults={"upload_lost": 1})
    with pytest.raises(ConnectionResetError):
        await api.upload(ask())
    [card] = (await api.http.get("/v1/files")).json()["data"]
    assert card["num_lines"] == 1
    assert (await api.counts())["uploads"] == 1


async def test_a_job_whose_answer_is_lost_is_found_in_the_list(desk, ask):
    api = desk(faults={"job_lost": 1})
    with pytest.raises(ConnectionResetError):
        await api.order(requests=[ask()], metadata={"run": "7"})
    [job] = await jobs_of(api)
    assert (job["status"], job["metadata"]) == ("QUEUED", {"run": "7"})
    assert (await api.counts())["jobs"] == 1


async def test_over_a_connection_a_lost_answer_is_a_reset(start, ask):
    api = start(faults={"job_lost": 1, "upload_lost": 1}, capture=True)
    order = {"endpoint": "/v1/chat/completions", "model": "mistral-small-2603", "requests": [ask()]}
    with pytest.raises(httpx.TransportError):
        api.http.post("/v1/batch/jobs", json=order)
    with pytest.raises(httpx.TransportError):
        api.http.post(
            "/v1/files",
            data={"purpose": "batch"},
            files={"file": ("a.jsonl", json.dumps(ask()).encode())},
        )
    assert api.http.get("/v1/batch/jobs").json()["total"] == 1
    assert api.http.get("/v1/files").json()["total"] == 1
    lost = api.http.get("/_emulator/requests").json()
    assert [(each["fault"], each["status"], each["reply"]) for each in lost] == [
        ("job_lost", None, None),
        ("upload_lost", None, None),
    ]


async def test_a_refused_order_makes_no_job(desk, ask):
    api = desk(faults={"job_502": 1})
    assert (await api.order(requests=[ask()])).status_code == 502
    assert await jobs_of(api) == []


async def test_a_hidden_job_is_not_found_for_a_while(desk, ask):
    api = desk(faults={"job_hidden": 1}, batch_hidden_s=5)
    job_id = await api.submit(ask())
    path = f"/v1/batch/jobs/{job_id}"
    assert (await api.http.get(path)).status_code == 404
    api.clock.now_s += 5
    assert (await api.http.get(path)).json()["status"] == "QUEUED"


async def test_a_doomed_job_fails_as_a_whole_when_its_turn_comes(desk, ask):
    api = desk(faults={"job_failed": 1})
    job_id = await api.submit(ask(), ask())
    assert (await api.job(job_id, after_s=9))["status"] == "QUEUED"
    job = await api.job(job_id, after_s=1)
    assert (job["status"], job["output_file"], job["error_file"]) == ("FAILED", None, None)
    assert [error["count"] for error in job["errors"]] == [1]
    assert (await api.counts())["lines_succeeded"] == 0


async def test_a_stuck_job_waits_until_its_time_is_up(desk, ask):
    api = desk(faults={"job_stuck": 1}, batch_hour_s=10)
    job_id = await api.submit(ask(), timeout_hours=100)
    assert (await api.job(job_id, after_s=999))["status"] == "QUEUED"
    job = await api.job(job_id, after_s=1)
    assert (job["status"], job["started_at"]) == ("TIMEOUT_EXCEEDED", None)
    assert job["output_file"] is None


async def test_a_poll_meets_a_bad_gateway(desk, ask):
    api = desk()
    job_id = await api.submit(ask())
    await api.http.post("/_emulator/settings", json={"faults": {"poll_502": 1}})
    for path in ("", f"/{job_id}"):
        assert (await api.http.get(f"/v1/batch/jobs{path}")).status_code == 502


@pytest.mark.parametrize(
    ("kind", "status"), [("rate_limited", 429), ("http_500", 500), ("bad_image", 400)]
)
async def test_lines_fail_at_their_rate_and_others_do_not(desk, ask, kind, status):
    api = desk(faults={f"line_{kind}": 0.5})
    lines = [ask(str(number), text=f"{number}") for number in range(60)]
    job = await api.job(await api.submit(*lines), after_s=110)
    failed = await api.rows(job["error_file"])
    assert 15 <= len(failed) == job["failed_requests"] <= 45
    assert {row["response"]["status_code"] for row in failed} == {status}
    assert job["errors"] == [
        {"message": f"HTTP Error, status code: {status}", "count": len(failed)}
    ]
    assert (await api.counts())["faults"] == {f"line_{kind}": len(failed)}
    assert await api.statuses(1) == [200]


async def test_a_line_may_be_answered_and_spoiled(desk, ask):
    api = desk(faults={"line_null_content": 1})
    job = await api.job(await api.submit(ask()), after_s=110)
    [row] = await api.rows(job["output_file"])
    assert row["response"]["body"]["choices"][0]["message"]["content"] is None


@pytest.mark.parametrize(("kind", "copies"), [("output_cut", 0.5), ("output_twice", 2)])
async def test_results_come_cut_or_twice_and_whole_when_asked_for_again(desk, ask, kind, copies):
    api = desk()
    lines = [ask(str(number)) for number in range(20)]
    upload = (await api.upload(*lines)).json()["id"]
    job_id = (await api.order(input_files=[upload])).json()["id"]
    job = await api.job(job_id, after_s=110)
    path = f"/v1/files/{job['output_file']}/content"
    whole = (await api.http.get(path)).content
    await api.http.post("/_emulator/settings", json={"faults": {kind: 1}})
    spoiled = (await api.http.get(path)).content
    assert spoiled == (whole * 2)[: round(len(whole) * copies)]
    assert len(await api.rows(upload)) == 20  # only what the API itself has written
    await api.http.post("/_emulator/settings", json={"faults": {}})
    assert (await api.http.get(path)).content == whole
    assert (await api.counts())["downloads"] == 4


async def test_a_queue_grows_long_by_hand_for_jobs_made_from_then_on(desk, ask):
    api = desk()
    first = await api.submit(ask())
    await api.http.post("/_emulator/settings", json={"batch_queue_s": 1000, "batch_run_s": 1})
    second = await api.submit(ask())
    assert (await api.job(first, after_s=110))["status"] == "SUCCESS"
    assert (await api.job(second))["status"] == "QUEUED"
    assert (await api.job(second, after_s=891))["status"] == "SUCCESS"


async def test_submissions_and_lines_are_captured(desk, ask):
    api = desk(capture=True, faults={"line_http_500": 1})
    await api.upload(b"{")
    job_id = await api.submit(ask("a"))
    await api.job(job_id, after_s=110)
    captured = (await api.http.get("/_emulator/requests")).json()
    assert [(each["request"], each["fault"], each["status"]) for each in captured] == [
        ("POST /v1/files", None, 422),
        ("POST /v1/files", None, 200),
        ("POST /v1/batch/jobs", None, 200),
        ("batch line", "line_http_500", 500),
    ]
    _, upload, order, line = captured
    assert upload["body"]["filename"] == "in.jsonl"
    assert upload["reply"]["id"] in order["body"]["input_files"]
    assert order["reply"]["id"] == job_id
    assert line["body"] == ask("a")


async def test_a_reset_forgets_jobs_and_counters(desk, ask):
    api = desk()
    job_id = await api.submit(ask())
    await api.job(job_id, after_s=50)
    await api.http.post("/_emulator/reset")
    assert (await api.http.get(f"/v1/batch/jobs/{job_id}")).status_code == 404
    counted = await api.counts()
    assert (counted["jobs"], counted["polls"]) == (0, 1)
    assert await api.submit(ask()) == job_id  # ids are those of the start


def test_rates_add_up_for_each_target_alone():
    whole = {next(iter(kinds)): 1.0 for kinds in FAULTS_OF.values()}
    assert EmulatorSettings(faults=whole).faults == whole
    with pytest.raises(ValueError, match="of a job add up"):
        EmulatorSettings(faults={"job_lost": 0.6, "job_stuck": 0.6})


@pytest.mark.parametrize("name", ["batch_hour_s", "batch_queue_s", "most_file_bytes"])
def test_settings_of_batches_have_bounds(name):
    with pytest.raises(ValueError, match=name):
        EmulatorSettings(**{name: -1})
