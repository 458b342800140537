"""Batch jobs from order to end, by a clock that the test moves."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

ANSWERED = ("completed_requests", "succeeded_requests", "failed_requests")


def counts_of(job):
    return tuple(job[key] for key in ("total_requests", *ANSWERED))


async def test_a_job_goes_from_the_queue_to_success_and_counts_its_lines(desk, ask):
    api = desk()
    file_id = (await api.upload(*(ask(str(number)) for number in range(4)))).json()["id"]
    made = (await api.order(input_files=[file_id], metadata={"run": "7"})).json()
    assert (made["object"], made["status"], made["input_files"]) == ("batch", "QUEUED", [file_id])
    assert (made["total_requests"], made["errors"], made["metadata"]) == (0, [], {"run": "7"})
    seen = []
    for after_s in (0, 9, 1, 25, 50, 24, 1):
        job = await api.job(made["id"], after_s=after_s)
        seen.append((job["status"], *counts_of(job)))
        assert (job["output_file"] is None) == (job["status"] != "SUCCESS")
    assert seen == [
        ("QUEUED", 4, 0, 0, 0),
        ("QUEUED", 4, 0, 0, 0),
        ("RUNNING", 4, 0, 0, 0),
        ("RUNNING", 4, 1, 1, 0),
        ("RUNNING", 4, 3, 3, 0),
        ("RUNNING", 4, 3, 3, 0),
        ("SUCCESS", 4, 4, 4, 0),
    ]
    assert job["started_at"] - job["created_at"] == 10
    assert job["completed_at"] - job["started_at"] == 100
    assert job["error_file"] is None


async def test_results_have_the_shape_and_the_usage_of_chat_answers(desk, ask):
    api = desk()
    job_id = await api.submit(ask("a", text="one two", max_tokens=3))
    job = await api.job(job_id, after_s=110)
    [row] = await api.rows(job["output_file"])
    assert row["id"].startswith(f"batch-{job_id[:8]}-0-")
    assert (row["custom_id"], row["error"], row["response"]["status_code"]) == ("a", None, 200)
    batch = row["response"]["body"]
    chat = await api.http.post(
        "/v1/chat/completions",
        json=ask(text="one two", max_tokens=3)["body"] | {"model": "mistral-small-2603"},
    )
    assert {key: batch[key] for key in ("model", "usage", "choices")} == {
        key: chat.json()[key] for key in ("model", "usage", "choices")
    }
    counted = await api.counts()
    assert counted["prompt_tokens"] == batch["usage"]["prompt_tokens"]
    assert counted["completion_tokens"] == batch["usage"]["completion_tokens"] == 3


async def test_a_batch_uses_none_of_the_limits_of_chat_requests(desk, ask):
    api = desk(requests_per_minute=1, tokens_per_minute=1)
    job = await api.job(await api.submit(*[ask()] * 5), after_s=110)
    assert job["succeeded_requests"] == 5
    assert await api.statuses(2) == [200, 429]
    assert (await api.stats())["received"] == 2


async def test_results_come_in_another_order_which_the_seed_repeats(desk, ask):
    async def order(seed):
        api = desk(seed=seed)
        job_id = await api.submit(*(ask(str(number)) for number in range(50)))
        job = await api.job(job_id, after_s=110)
        return [row["custom_id"] for row in await api.rows(job["output_file"])]

    first, again, other = await order(1), await order(1), await order(2)
    assert first == again != other
    assert first != sorted(first, key=int) == [str(number) for number in range(50)]


async def test_success_means_processed_and_failed_lines_have_a_file_of_their_own(desk, ask):
    shown = {"type": "image_url", "image_url": "https://example.com/none.png"}
    unreachable = {"messages": [{"role": "user", "content": [shown]}]}
    api = desk()
    job_id = await api.submit(
        ask("a"), {"custom_id": "b", "body": unreachable}, ask("c", n=2), ask("d", seed=1), ask("e")
    )
    job = await api.job(job_id, after_s=110)
    assert (job["status"], *counts_of(job)) == ("SUCCESS", 5, 5, 2, 3)
    assert job["errors"] == [
        {"message": "HTTP Error, status code: 400", "count": 2},
        {"message": "HTTP Error, status code: 422", "count": 1},
    ]
    assert {row["custom_id"] for row in await api.rows(job["output_file"])} == {"a", "e"}
    failed = {row["custom_id"]: row for row in await api.rows(job["error_file"])}
    assert failed.keys() == {"b", "c", "d"}
    assert failed["b"]["error"] is None
    said = failed["b"]["response"]["body"]
    assert isinstance(said, str)
    assert json.loads(said)["code"] == "3310"
    counted = await api.counts()
    assert (counted["lines_succeeded"], counted["lines_failed"]) == (2, 3)


async def test_a_job_whose_lines_all_fail_has_no_output_file(desk, ask):
    api = desk()
    job = await api.job(await api.submit(ask(n=2)), after_s=110)
    assert (job["status"], job["output_file"]) == ("SUCCESS", None)
    assert job["error_file"] is not None


async def test_double_and_absent_names_of_lines_are_given_back_as_they_are(desk, ask):
    api = desk()
    unnamed = {"body": ask()["body"]}
    job = await api.job(await api.submit(ask("a"), ask("a"), unnamed), after_s=110)
    names = [row["custom_id"] for row in await api.rows(job["output_file"])]
    assert sorted(names, key=str) == [None, "a", "a"]


async def test_the_model_of_a_line_is_ignored(desk, ask):
    api = desk()
    job = await api.job(await api.submit(ask(model="nobody")), after_s=110)
    [row] = await api.rows(job["output_file"])
    assert row["response"]["body"]["model"].endswith("/mistral-small-2603")


async def test_several_files_make_one_job(desk, ask):
    api = desk()
    files = [(await api.upload(ask(name), ask(name + "!"))).json()["id"] for name in "abc"]
    made = (await api.order(input_files=files)).json()
    job = await api.job(made["id"], after_s=110)
    names = {row["custom_id"] for row in await api.rows(job["output_file"])}
    assert names == {"a", "a!", "b", "b!", "c", "c!"}


async def test_requests_and_results_may_be_inline(desk, ask):
    api = desk()
    made = (await api.order(requests=[ask("a"), ask("b", n=2)])).json()
    assert made["input_files"] == []
    assert (await api.job(made["id"], after_s=50, inline=True))["outputs"] is None
    job = await api.job(made["id"], after_s=60, inline=True)
    assert {row["custom_id"]: row["response"]["status_code"] for row in job["outputs"]} == {
        "a": 200,
        "b": 400,
    }
    assert (await api.job(made["id"]))["outputs"] is None
    assert (await api.http.get("/v1/files")).json()["total"] == 2


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"input_files": [str(uuid4())]}, 404),
        ({"timeout_hours": 0}, 422),
        ({"timeout_hours": 169}, 422),
        ({"endpoint": "/v1/nothing"}, 422),
        ({"model": "nobody"}, 422),
        ({"model": "pixtral-12b-2409"}, 422),
        ({"model": None}, 422),
        ({"requests": None}, 422),
        ({"requests": []}, 422),
        ({"input_files": ["a"], "requests": [{"body": {}}]}, 422),
        ({"requests": [{"body": {}}] * 10_001}, 422),
        ({"metadata": {"k" * 33: "v"}}, 422),
        ({"metadata": {"k": ""}}, 422),
    ],
)
async def test_a_wrong_order_makes_no_job(desk, ask, order, status):
    api = desk()
    order = {"requests": None if "input_files" in order else [ask()], **order}
    assert (await api.order(**order)).status_code == status
    assert (await api.http.get("/v1/batch/jobs")).json()["total"] == 0
    counted = await api.counts()
    assert (counted["jobs"], counted["jobs_refused"]) == (0, 1)


async def test_a_job_out_of_time_keeps_the_lines_that_it_has(desk, ask):
    api = desk(batch_hour_s=60)
    job_id = await api.submit(*(ask(str(number)) for number in range(10)), timeout_hours=1)
    assert (await api.job(job_id, after_s=59))["status"] == "RUNNING"
    job = await api.job(job_id, after_s=1000)
    assert (job["status"], *counts_of(job)) == ("TIMEOUT_EXCEEDED", 10, 5, 5, 0)
    assert job["completed_at"] - job["created_at"] == 60
    assert len(await api.rows(job["output_file"])) == 5


async def test_a_job_cancelled_in_the_queue_ends_at_once_and_without_files(desk, ask):
    api = desk()
    job_id = await api.submit(ask())
    job = await api.cancel(job_id)
    assert (job["status"], job["started_at"], job["output_file"]) == ("CANCELLED", None, None)
    assert counts_of(await api.job(job_id, after_s=1000)) == (1, 0, 0, 0)


async def test_a_running_job_is_cancelled_after_a_while_and_keeps_what_it_has(desk, ask):
    api = desk()
    job_id = await api.submit(*(ask(str(number)) for number in range(10)))
    assert (await api.job(job_id, after_s=40))["completed_requests"] == 3
    assert (await api.cancel(job_id))["status"] == "CANCELLATION_REQUESTED"
    assert (await api.cancel(job_id))["status"] == "CANCELLATION_REQUESTED"
    job = await api.job(job_id, after_s=10)
    assert (job["status"], job["completed_requests"]) == ("CANCELLED", 4)
    assert len(await api.rows(job["output_file"])) == 4


async def test_a_job_that_is_cancelled_late_has_all_of_its_lines(desk, ask):
    api = desk()
    job_id = await api.submit(ask("a"), ask("b"))
    await api.job(job_id, after_s=105)
    await api.cancel(job_id)
    job = await api.job(job_id, after_s=10)
    assert job["status"] == "CANCELLED"
    assert {row["custom_id"] for row in await api.rows(job["output_file"])} == {"a", "b"}


async def test_a_job_that_has_ended_cannot_be_cancelled(desk, ask):
    api = desk()
    job_id = await api.submit(ask())
    await api.job(job_id, after_s=110)
    assert (await api.cancel(job_id))["status"] == "SUCCESS"


async def test_a_deleted_job_is_gone_and_its_files_stay(desk, ask):
    api = desk()
    job_id = await api.submit(ask())
    job = await api.job(job_id, after_s=110)
    gone = await api.http.delete(f"/v1/batch/jobs/{job_id}")
    assert gone.json() == {"id": job_id, "object": "batch", "deleted": True}
    for method, path in (("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
        reply = await api.http.request(method, f"/v1/batch/jobs/{job_id}{path}")
        assert reply.status_code == 404
    assert await api.rows(job["output_file"])


async def test_a_job_whose_input_is_deleted_before_it_is_read_fails(desk, ask):
    api = desk()
    file_id = (await api.upload(ask("a"), ask("b"))).json()["id"]
    job_id = (await api.order(input_files=[file_id])).json()["id"]
    assert (await api.job(job_id, after_s=60))["completed_requests"] == 1
    await api.http.delete(f"/v1/files/{file_id}")
    job = await api.job(job_id, after_s=60)
    assert (job["status"], *counts_of(job)) == ("FAILED", 2, 1, 1, 0)
    assert job["errors"] == [{"message": "An input file was deleted", "count": 1}]
    assert len(await api.rows(job["output_file"])) == 1
    assert await api.job(job_id, after_s=60) == job


async def test_jobs_are_listed_by_what_they_are(desk, ask):
    api = desk()
    ids = []
    for number in range(4):
        metadata = {"run": str(number % 2), "part": str(number)}
        ids.append(await api.submit(ask(), metadata=metadata))
        api.clock.now_s += 20
    await api.cancel(ids[3])

    async def listed(**query):
        page = (await api.http.get("/v1/batch/jobs", params=query)).json()
        assert page["object"] == "list"
        assert page["total"] >= len(page["data"])
        return [ids.index(job["id"]) for job in page["data"]]

    assert await listed() == [3, 2, 1, 0]
    assert await listed(order_by="created", page=1, page_size=3) == [3]
    assert await listed(status=["CANCELLATION_REQUESTED", "QUEUED"]) == [3]
    assert await listed(metadata=json.dumps({"run": "0"})) == [2, 0]
    assert await listed(run="1", part="3", created_by_me=True) == [3]
    assert await listed(model="mistral-large-2512") == await listed(agent_id="a") == []
    created_at_s = (await api.job(ids[1]))["created_at"] + 1
    after = datetime.fromtimestamp(created_at_s, UTC).isoformat()
    assert await listed(created_after=after) == [3, 2]
    for wrong in ({"status": "DONE"}, {"metadata": "{"}, {"metadata": "7"}, {"page_size": 0}):
        assert (await api.http.get("/v1/batch/jobs", params=wrong)).status_code == 422


async def test_a_job_that_answers_slower_than_planned_runs_on_and_can_be_cancelled(
    desk, ask, held_engine, monkeypatch
):
    monkeypatch.setattr("vision_pipeline.emulator.batch.service._PATIENCE_S", 0.0)
    api = desk(engine=held_engine)
    job_id = await api.submit(*(ask(str(number)) for number in range(40)))
    job = await api.job(job_id, after_s=500)
    assert (job["status"], job["completed_at"]) == ("RUNNING", None)
    job = await api.cancel(job_id)
    assert job["status"] == "CANCELLATION_REQUESTED"
    held_engine.go.set()
    while (job := await api.job(job_id, after_s=1))["status"] != "CANCELLED":
        pass
    assert len(await api.rows(job["output_file"])) == job["completed_requests"] < 40


async def test_a_line_that_breaks_the_emulator_is_not_silent(desk, ask, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("vision_pipeline.emulator.batch.lines.check_body", broken)
    api = desk()
    job_id = await api.submit(ask())
    with pytest.raises(ZeroDivisionError):
        await api.job(job_id, after_s=500)
