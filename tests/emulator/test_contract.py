"""The wire contract: what is accepted, what is refused, and with which body."""

from __future__ import annotations

import io

import httpx
import pytest
from PIL import Image

URL_ERROR = (
    "Value error, Image content must be a URL (starting with 'https') or base64 encoded image "
    "(starting with 'data:image/<format>;base64,<image-base64>')"
)


def text(value):
    return {"type": "text", "text": value}


def shown(url):
    return {"type": "image_url", "image_url": url}


def test_an_answer_has_the_shape_that_was_seen_on_the_wire(api):
    reply = api.chat()
    body = reply.json()
    assert reply.status_code == 200
    assert len(body["id"]) == 32
    assert int(body["id"], 16) >= 0
    assert body["object"] == "chat.completion"
    assert body["model"] == "emulator-synthetic/mistral-small-2603"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["choices"][0]["message"]["tool_calls"] is None
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert {"completion_tokens_details", "request_count", "service_tier"} <= body["usage"].keys()


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/_emulator/stats"])
def test_every_answer_has_the_gateway_headers(api, path):
    headers = api.http.get(path).headers
    assert headers["mistral-correlation-id"]
    assert int(headers["x-envoy-upstream-service-time"]) >= 0


@pytest.mark.parametrize("detail", [None, "low", "auto", "high"])
def test_both_image_forms_and_any_detail_cost_the_same(api, picture, detail):
    as_string = api.chat([picture])
    as_object = api.chat([shown({"url": picture["image_url"], "detail": detail})])
    assert as_string.json()["usage"]["prompt_tokens"] == 910 + 3
    assert as_object.json()["usage"] == as_string.json()["usage"]


def test_a_chunk_without_its_type_is_understood(api, picture):
    reply = api.chat([{"text": "Read"}, {"image_url": picture["image_url"]}])
    assert reply.json()["usage"]["prompt_tokens"] == 910 + 1 + 3


@pytest.mark.parametrize(
    ("size", "tokens"), [((700, 979), 910), ((455, 251), 162), ((1024, 683), 950)]
)
def test_the_vendors_example_images_cost_what_its_page_prints(api, image, data_url, size, tokens):
    reply = api.chat([text("one two three four"), shown(data_url(image(*size)))])
    assert reply.json()["usage"]["prompt_tokens"] == tokens + 4 + 3


def test_a_system_message_adds_its_text_and_its_frame(api, picture):
    messages = [
        {"role": "system", "content": "one two"},
        {"role": "user", "content": [text("three"), picture, picture]},
    ]
    reply = api.chat(messages=messages)
    assert reply.json()["usage"]["prompt_tokens"] == 2 * 910 + 3 + 3 + 2


def test_the_exif_orientation_is_not_applied(api, image, data_url):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    turned = image(300, 100, "JPEG", exif=exif)
    reply = api.chat([shown(data_url(turned, "jpeg"))])
    assert reply.json()["usage"]["prompt_tokens"] == (11 + 1) * 4 + 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_four_documented_formats_are_read(api, image, data_url, kind):
    reply = api.chat([shown(data_url(image(56, 28, kind), kind.lower()))])
    assert reply.json()["usage"]["prompt_tokens"] == 3 + 3


def test_a_registered_address_gives_its_image_and_any_other_cannot_be_fetched(api):
    known = api.chat([shown("https://example.com/a.png")])
    unknown = api.chat([shown("https://example.com/b.png")])
    assert known.json()["usage"]["prompt_tokens"] == 162 + 3
    assert unknown.status_code == 400
    assert unknown.json() == {
        "object": "error",
        "message": "File could not be fetched from url 'https://example.com/b.png'",
        "type": "invalid_request_file",
        "param": None,
        "code": "3310",
        "raw_status_code": 400,
    }


@pytest.mark.parametrize("url", ["http://example.com/a.png", "iVBORw0KGgo=", "file:///etc/passwd"])
def test_an_address_of_another_form_is_a_value_error_of_the_body(api, url):
    reply = api.chat([shown(url)])
    assert reply.status_code == 422
    assert reply.json() == {"detail": [{"type": "value_error", "loc": ["body"], "msg": URL_ERROR}]}


def test_all_unknown_fields_are_named_at_once_with_their_place(api):
    reply = api.chat(
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "a", "b": 1}], "name": "x"}
        ],
        store=False,
        max_completion_tokens=5,
    )
    errors = {tuple(error["loc"]): error for error in reply.json()["detail"]}
    assert reply.status_code == 422
    assert set(errors) == {
        ("body", "store"),
        ("body", "max_completion_tokens"),
        ("body", "messages", 0, "user", "name"),
        ("body", "messages", 0, "user", "content", "list", 0, "text", "b"),
    }
    assert errors["body", "store"] == {
        "type": "extra_forbidden",
        "loc": ["body", "store"],
        "msg": "Extra inputs are not permitted",
        "input": False,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"temperature": 1.6},
        {"max_tokens": -1},
        {"messages": [{"role": "robot", "content": "a"}]},
        {"messages": [{"role": "system", "content": [shown("https://a")]}]},
        {"response_format": {"type": "json_schema"}},
        {"seed": 1},
    ],
)
def test_values_out_of_bounds_are_refused(api, fields):
    assert api.chat(**fields).status_code == 422


def test_an_error_echoes_no_megabytes(api):
    reply = api.chat([{"type": "image_url", "image_url": 3, "note": "x" * 3_000_000}])
    assert reply.status_code == 422
    assert len(reply.content) < 2_000


def test_a_body_that_is_no_json_is_a_validation_error(api):
    reply = api.http.post("/v1/chat/completions", content=b'{"model": ')
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["type"] == "json_invalid"


def test_nine_images_are_too_many(api, image, data_url):
    chunk = shown(data_url(image(10, 10)))
    assert api.chat([chunk] * 8).status_code == 200
    assert api.chat([chunk] * 9).json()["type"] == "invalid_request_file"


@pytest.mark.parametrize(
    "source", [b"", b"BM not supported", b"\x89PNG\r\n\x1a\ncut", b"\xff\xd8\xff"]
)
def test_what_is_no_supported_image_is_refused(api, data_url, source):
    reply = api.chat([shown(data_url(source))])
    assert reply.status_code == 400
    assert reply.json()["type"] == "invalid_request_file"


def test_a_payload_that_is_no_base64_is_refused(api):
    assert api.chat([shown("data:image/png;base64,a b")]).status_code == 400
    assert api.chat([shown("data:image/png,abc")]).status_code == 400


def test_a_moving_gif_is_refused(api, data_url):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    moving = file.getvalue()
    assert api.chat([shown(data_url(moving, "gif"))]).status_code == 400


def test_an_image_over_ten_mebibytes_or_ten_thousand_pixels_is_refused(api, image, data_url):
    heavy = image(10, 10) + b"\0" * (10 * 1024 * 1024)
    assert api.chat([shown(data_url(heavy))]).status_code == 400
    assert api.chat([shown(data_url(image(10_001, 1)))]).status_code == 400
    assert api.chat([shown(data_url(image(10_000, 1)))]).status_code == 200


def test_a_body_over_the_size_limit_is_refused_by_the_gateway(api):
    reply = api.http.post("/v1/chat/completions", content=b" " * 53_000_001)
    assert reply.status_code == 413
    assert reply.json()["message"] == "Request size limit exceeded"
    assert api.chat().status_code == 200


def test_unknown_retired_and_blind_models_are_told_apart(api, picture):
    unknown = api.chat(model="nobody")
    assert unknown.status_code == 400
    assert unknown.json()["message"] == "Invalid model: nobody"
    assert unknown.json()["code"] == "1500"
    assert api.chat(model="pixtral-12b-2409").status_code == 404
    assert api.chat([picture], model="text-only").status_code == 400
    assert api.chat("hello", model="text-only").status_code == 200


def test_a_model_that_will_retire_says_so_in_a_header(api):
    header = "x-model-deprecation-timestamp"
    assert api.chat(model="leaving-soon").headers[header] == "2999-01-01T00:00:00Z"
    assert header not in api.chat().headers


def test_an_alias_is_echoed_as_it_was_asked_for(api):
    reply = api.chat(model="mistral-small-latest")
    assert reply.json()["model"] == "emulator-synthetic/mistral-small-latest"


def test_an_empty_catalogue_knows_every_name(start, catalogue):
    assert start(type(catalogue)(())).chat(model="anything").status_code == 200


@pytest.mark.parametrize(
    "last", [{"role": "assistant", "content": "a"}, {"role": "system", "content": "a"}]
)
def test_the_last_message_has_to_be_one_that_can_be_answered(api, last):
    reply = api.chat(messages=[{"role": "user", "content": "a"}, last])
    assert reply.status_code == 400
    assert reply.json()["type"] == "invalid_request_message_order"


def test_an_assistant_prefix_begins_the_answer(api):
    prefix = {"role": "assistant", "content": "Well, ", "prefix": True}
    reply = api.chat(messages=[{"role": "user", "content": "a"}, prefix])
    assert reply.json()["choices"][0]["message"]["content"].startswith("Well, ")


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"n": 2},
        {
            "messages": [
                {"role": "user", "content": [{"type": "document_url", "document_url": "https://a"}]}
            ]
        },
    ],
)
def test_what_the_emulator_does_not_do_is_said_plainly(api, fields):
    reply = api.chat(**fields)
    assert reply.status_code == 400
    assert "emulator" in reply.json()["message"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc"])
def test_a_missing_key_is_refused(api, header):
    headers = {} if header is None else {"authorization": header}
    reply = httpx.post(f"{api.base_url}/v1/chat/completions", headers=headers, json={})
    assert reply.status_code == 401
    assert reply.json() == {"detail": "Invalid API Key"}


def test_only_the_given_key_opens(start):
    api = start(api_key="right")
    assert api.chat().status_code == 401
    assert api.http.get("/v1/models").status_code == 401
    api.http.headers["authorization"] = "Bearer right"
    assert api.chat().status_code == 200


def test_a_wrong_path_meets_the_gateway(api):
    reply = api.http.get("/v2/chat")
    assert reply.status_code == 404
    assert reply.json()["message"] == "no Route matched with those values"
    assert api.http.get("/v1/chat/completions").status_code == 405


def test_models_are_listed_with_aliases_and_what_they_can(api):
    cards = {card["id"]: card for card in api.http.get("/v1/models").json()["data"]}
    assert "pixtral-12b-2409" not in cards
    assert cards["mistral-small-2603"]["aliases"] == ["mistral-small-latest"]
    assert cards["mistral-small-2603"]["capabilities"]["vision"] is True
    assert cards["text-only"]["capabilities"]["vision"] is False
    assert api.http.get("/v1/models/mistral-small-latest").json() == cards["mistral-small-2603"]
    assert api.http.get("/v1/models/nobody").status_code == 404


def test_max_tokens_cuts_the_answer_and_says_so(api):
    reply = api.chat(max_tokens=3).json()
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 3
    assert len(reply["choices"][0]["message"]["content"]) < 30
    assert api.chat(max_tokens=0).json()["choices"][0]["message"]["content"] == ""


def test_a_known_beginning_under_the_same_cache_key_is_cached_in_blocks(api, picture):
    content = [text("word " * 150), picture]
    first = api.chat(content, prompt_cache_key="k").json()["usage"]
    again = api.chat(content, prompt_cache_key="k")
    other_key = api.chat(content, prompt_cache_key="l").json()["usage"]
    usage = again.json()["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["prompt_tokens_details"]["cached_tokens"] == 128
    assert other_key["prompt_tokens_details"]["cached_tokens"] == 0
    cost = int(again.headers["x-ratelimit-tokens-query-cost"])
    assert cost == usage["total_tokens"] - 128


def test_stats_count_chat_requests_only_and_reset_clears_them(api):
    api.http.get("/v1/models")
    usage = api.chat().json()["usage"]
    api.chat(store=True)
    stats = api.stats()
    assert list(stats) == [
        *("received", "served", "refused", "rate_limited", "faulted", "abandoned"),
        *("faults", "statuses", "in_flight", "max_in_flight"),
        *("prompt_tokens", "completion_tokens", "wire_bytes", "first_at_s", "last_at_s"),
        "batch",
    ]
    assert (stats["received"], stats["served"], stats["refused"]) == (2, 1, 1)
    assert (stats["in_flight"], stats["max_in_flight"], stats["faults"]) == (0, 1, {})
    assert stats["statuses"] == {"200": 1, "422": 1}
    assert stats["prompt_tokens"] == usage["prompt_tokens"]
    assert stats["completion_tokens"] == usage["completion_tokens"]
    assert stats["wire_bytes"] > 100
    assert stats["first_at_s"] <= stats["last_at_s"]
    api.http.post("/_emulator/reset")
    assert api.stats()["received"] == 0
    assert api.stats()["first_at_s"] is None


def test_captured_requests_give_bodies_and_replies(api):
    reply = api.chat("remember me")
    [captured] = api.http.get("/_emulator/requests").json()
    assert captured["body"]["messages"][0]["content"] == "remember me"
    assert captured["status"] == 200
    assert captured["reply"] == reply.json()


def test_without_capture_there_is_nothing_to_see(start):
    assert start().http.get("/_emulator/requests").status_code == 404


def test_only_the_latest_captures_are_kept(start):
    api = start(capture=True, most_captured=2)
    for word in ("one", "two", "three"):
        api.chat(word)
    captured = api.http.get("/_emulator/requests").json()
    assert [entry["body"]["messages"][0]["content"] for entry in captured] == ["two", "three"]
