"""Files: what is taken in, what is refused, and how it comes back."""

from __future__ import annotations

import pytest

BAD_LINES = {
    "role": {"body": {"messages": [{"role": "narrator", "content": "a"}]}},
    "messages": {"body": {"messages": []}},
    "max_tokens": {"body": {"messages": [{"role": "user", "content": "a"}], "max_tokens": -1}},
    "temperature": {"body": {"messages": [{"role": "user", "content": "a"}], "temperature": 1.6}},
    "body": {"custom_id": "0"},
    "Invalid JSON": b'{"body": ',
    "valid dictionary": b"7",
}


async def test_an_upload_is_answered_with_the_card_of_the_file(desk, ask):
    card = (await desk().upload(ask(), ask("1"))).json()
    assert {key: card[key] for key in ("object", "filename", "purpose", "sample_type")} == {
        "object": "file",
        "filename": "in.jsonl",
        "purpose": "batch",
        "sample_type": "batch_request",
    }
    assert (card["source"], card["num_lines"], card["expires_at"]) == ("upload", 2, None)
    assert (card["mimetype"], len(card["signature"])) == ("application/jsonl", 16)


@pytest.mark.parametrize("word", BAD_LINES)
async def test_one_wrong_line_refuses_the_whole_file_by_its_number(desk, ask, word):
    api = desk()
    refusal = await api.upload(ask(), b"", ask("1"), BAD_LINES[word], ask("2"))
    body = refusal.json()
    assert refusal.status_code == 422
    assert body["detail"] == "Invalid file format."
    assert body["description"].startswith("Found 1 error in this file")
    [error] = body["errors"]
    assert error["line_number"] == 4
    assert word in error["message"]
    assert (await api.http.get("/v1/files")).json()["total"] == 0
    assert (await api.counts())["uploads_refused"] == 1


async def test_all_wrong_lines_are_counted(desk):
    refusal = (await desk().upload(*BAD_LINES.values())).json()
    assert refusal["description"].startswith(f"Found {len(BAD_LINES)} errors")


async def test_what_was_not_seen_to_be_refused_is_taken(desk, ask):
    odd = [
        ask(None, model="other"),
        {"body": {"document": {}}},
        ask("0", max_tokens=10**7),
        ask("0", no_such_field=1),
    ]
    assert (await desk().upload(*odd)).status_code == 200


async def test_a_file_without_lines_is_refused(desk):
    assert (await desk().upload(b"", b" ")).status_code == 422


async def test_a_file_over_the_limit_is_refused_and_not_kept(desk, ask):
    api = desk(most_file_bytes=10_000)
    line = ask(text="x" * 2000)
    assert (await api.upload(*[line] * 4)).status_code == 200
    assert (await api.upload(*[line] * 60)).status_code == 413


@pytest.mark.parametrize(
    "request_",
    [
        {"data": {"purpose": "batch"}},
        {"data": {"purpose": "ocr"}, "files": {"file": ("a", b"{}")}},
        {"files": {"file": ("a", b"{}")}},
        {"data": {"purpose": "batch", "expiry": "0"}, "files": {"file": ("a", b"{}")}},
    ],
)
async def test_an_upload_without_its_fields_is_refused(desk, request_):
    assert (await desk().http.post("/v1/files", **request_)).status_code == 422


async def test_a_broken_form_is_refused(desk):
    headers = {"content-type": "multipart/form-data"}
    refusal = await desk().http.post("/v1/files", content=b"nothing", headers=headers)
    assert refusal.status_code == 400


async def test_a_file_comes_back_as_it_went(desk, ask):
    api = desk()
    lines = [ask(), b"", ask("1", text="é")]
    card = (await api.upload(*lines)).json()
    content = await api.http.get(f"/v1/files/{card['id']}/content")
    assert content.headers["content-type"] == "application/octet-stream"
    assert len(content.content) == card["bytes"] == int(content.headers["content-length"])
    shown = (await api.http.get(f"/v1/files/{card['id']}")).json()
    assert shown == card | {"deleted": False}


async def test_a_deleted_file_is_gone(desk, ask):
    api = desk()
    file_id = (await api.upload(ask())).json()["id"]
    gone = await api.http.delete(f"/v1/files/{file_id}")
    assert gone.json() == {"id": file_id, "object": "file", "deleted": True}
    for method, path in (("GET", ""), ("GET", "/content"), ("GET", "/url"), ("DELETE", "")):
        assert (await api.http.request(method, f"/v1/files/{file_id}{path}")).status_code == 404


async def test_a_file_with_an_expiry_goes_when_its_hours_are_over(desk, ask):
    api = desk(batch_hour_s=10)
    card = (await api.upload(ask(), expiry=2, visibility="user")).json()
    assert card["expires_at"] == card["created_at"] + 2 * 3600
    assert card["visibility"] == "user"
    api.clock.now_s += 19
    assert (await api.http.get("/v1/files")).json()["total"] == 1
    api.clock.now_s += 1
    assert (await api.http.get("/v1/files")).json()["total"] == 0


async def test_files_are_listed_newest_first_page_by_page_and_by_what_they_are(desk, ask):
    api = desk()
    uploaded = [(await api.upload(ask())).json()["id"] for _ in range(3)]
    job_id = (await api.order(input_files=uploaded[:1])).json()["id"]
    results = (await api.job(job_id, after_s=110))["output_file"]

    async def listed(**query):
        return (await api.http.get("/v1/files", params=query)).json()

    page = await listed(page=1, page_size=2)
    assert [card["id"] for card in page["data"]] == uploaded[1::-1]
    assert page["total"] == 4
    assert (await listed(include_total=False))["total"] is None
    for query in ({"sample_type": "batch_result"}, {"source": "mistral"}, {"search": job_id}):
        assert [card["id"] for card in (await listed(**query))["data"]] == [results]
    for query in ({"purpose": "ocr"}, {"mimetypes": "image/png"}, {"sample_type": "batch_error"}):
        assert (await listed(**query))["total"] == 0
    refusal = await api.http.get("/v1/files", params={"page": -1})
    assert refusal.json()["detail"][0]["loc"] == ["query", "page"]


async def test_a_signed_address_needs_no_key_until_its_hours_are_over(desk, ask):
    api = desk(batch_hour_s=10)
    file_id = (await api.upload(ask())).json()["id"]
    path = f"/v1/files/{file_id}/url"
    url = (await api.http.get(path, params={"expiry": 2})).json()["url"]
    no_key = {"authorization": ""}
    assert (await api.http.get(url, headers=no_key)).content
    assert (await api.http.get(url[:-1], headers=no_key)).status_code == 403
    api.clock.now_s += 20.1
    assert (await api.http.get(url, headers=no_key)).status_code == 403
    assert (await api.http.get(path, params={"expiry": 169})).status_code == 422


@pytest.mark.parametrize("path", ["/v1/files", "/v1/files/a/content", "/v1/batch/jobs"])
async def test_without_a_key_there_is_nothing(desk, path):
    assert (await desk().http.get(path, headers={"authorization": ""})).status_code == 401


async def test_the_folder_of_the_files_goes_with_a_reset(desk, ask, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    api = desk()
    await api.upload(ask())
    assert len(list(tmp_path.glob("emulator-files-*/*"))) == 1
    await api.http.post("/_emulator/reset")
    assert not list(tmp_path.glob("emulator-files-*"))
    assert (await api.http.get("/v1/files")).json()["total"] == 0
