"""Every kind of fault over a real connection, and the draw that decides who meets one."""

from __future__ import annotations

import json
from collections import Counter

import httpx
import pytest

from vision_pipeline.emulator.draws import Draws
from vision_pipeline.emulator.faults import FAULTS
from vision_pipeline.emulator.settings import EmulatorSettings

STRICT = {
    "type": "json_schema",
    "json_schema": {
        "name": "pair",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
            "required": ["name", "count"],
            "additionalProperties": False,
        },
    },
}


def content(reply):
    return reply.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("kind", "status", "media_type", "words"),
    [
        ("http_500", 500, "application/json", b"Internal server error"),
        ("http_502", 502, "text/plain; charset=utf-8", b"invalid response was received"),
        ("http_520", 520, "text/html; charset=utf-8", b"<html>"),
        ("rate_limited", 429, "application/json", b'"1300"'),
        ("capacity", 429, "application/json", b'"3505"'),
        ("unauthorized", 401, "application/json", b"Invalid API Key"),
        ("http_503", 503, "application/json", b"request_id"),
        ("http_504", 504, "text/plain; charset=utf-8", b"timing out"),
        ("rate_limited_old", 429, "application/json", b"Requests rate limit exceeded"),
        ("limit_zero", 429, "application/json", b'"1300"'),
        ("unauthorized_old", 401, "application/json", b'{"detail":"Unauthorized"}'),
        ("unauthorized_gateway", 401, "application/json", b'"message":"Unauthorized","request_id"'),
        ("plan_used_up", 401, "application/json", b"Inactive subscription or usage limit reached"),
        ("plan_used_up_old", 403, "application/json", b"Inactive subscription"),
        ("labs_only", 403, "application/json", b'"1913"'),
        ("guardrail", 403, "application/json", b"blocked by guardrail"),
        ("unknown_model", 400, "application/json", b'"1500"'),
        ("retired_model", 404, "application/json", b'"1500"'),
        ("model_not_found", 404, "application/json", b'"3040"'),
        ("no_route", 404, "application/json", b"no Route matched with those values"),
        ("not_found", 404, "application/json", b'{"detail":"Not Found"}'),
        ("too_long", 400, "application/json", b'"3059"'),
        ("message_order", 400, "application/json", b"invalid_request_message_order"),
        ("bad_image", 400, "application/json", b'"3310"'),
        ("unfetchable_image", 400, "application/json", b"could not be fetched"),
        ("unfetchable_document", 400, "application/json", b"Failed to fetch document"),
        ("bad_image_string", 422, "application/json", b"value_error"),
        ("bad_schema", 400, "application/json", b"Grammar error"),
        ("body_too_large", 413, "application/json", b"Request size limit exceeded"),
        ("invalid_422", 422, "application/json", b'{"detail":[{"type":"extra_forbidden"'),
        ("invalid_422_old", 422, "application/json", b'"message":{"detail":[{"type"'),
        ("invalid_422_conversations", 422, "application/json", b'"code":3001'),
    ],
)
def test_an_error_answer_takes_the_place_of_the_reply(start, kind, status, media_type, words):
    api = start(faults={kind: 1.0})
    reply = api.chat()
    assert reply.status_code == status
    assert reply.headers["content-type"] == media_type
    assert words in reply.content
    assert api.stats()["faults"] == {kind: 1}
    stats = api.stats()
    assert (stats["served"], stats["refused"], stats["faulted"]) == (0, 0, 1)
    assert stats["statuses"] == {str(status): 1}


def test_a_reset_closes_the_connection_without_an_answer(start):
    api = start(faults={"reset": 1.0})
    with pytest.raises(httpx.NetworkError):
        api.chat()
    assert api.stats()["faults"] == {"reset": 1}
    assert api.stats()["in_flight"] == 0


def test_a_stalled_request_lasts_until_the_client_leaves(start):
    api = start(faults={"stall": 1.0})
    with pytest.raises(httpx.ReadTimeout):
        api.http.post(
            "/v1/chat/completions",
            json={"model": "leaving-soon", "messages": [{"role": "user", "content": "a"}]},
            timeout=0.2,
        )
    assert api.stats()["faults"] == {"stall": 1}


def test_a_model_that_the_plan_does_not_allow_has_limits_of_zero(start):
    api = start(faults={"limit_zero": 1.0}, retry_after="seconds")
    refused = api.chat()
    assert refused.headers["x-ratelimit-limit-req-minute"] == "0"
    assert "retry-after" not in refused.headers
    assert api.stats()["rate_limited"] == 0


def test_a_digit_loop_writes_until_there_are_no_tokens_left(start):
    reply = start(faults={"digit_loop": 1.0}).chat(response_format=STRICT, max_tokens=400)
    text = content(reply)
    assert reply.json()["choices"][0]["finish_reason"] == "length"
    assert reply.json()["usage"]["completion_tokens"] == 400
    assert text.startswith('{"name": ')
    assert "142857" * 50 in text


def test_a_slow_answer_is_a_normal_one(start):
    api = start(faults={"slow": 1.0}, slow_s=0.2)
    reply = api.chat()
    assert reply.status_code == 200
    assert reply.elapsed.total_seconds() >= 0.2
    assert (api.stats()["served"], api.stats()["faults"]) == (1, {"slow": 1})


def test_a_client_that_leaves_a_slow_answer_is_counted_as_gone(start):
    api = start(faults={"slow": 1.0})
    with pytest.raises(httpx.ReadTimeout):
        api.http.post(
            "/v1/chat/completions",
            json={"model": "leaving-soon", "messages": [{"role": "user", "content": "a"}]},
            timeout=0.2,
        )
    for _ in range(10_000):  # until the server has noticed, within some seconds
        if not api.stats()["in_flight"]:
            break
    stats = api.stats()
    assert (stats["received"], stats["served"], stats["abandoned"]) == (1, 0, 1)
    assert stats["statuses"] == {}


@pytest.mark.parametrize(("kind", "is_empty"), [("empty_body", True), ("cut_body", False)])
def test_a_served_body_can_be_no_json(start, kind, is_empty):
    reply = start(faults={kind: 1.0}).chat()
    assert reply.status_code == 200
    assert (reply.content == b"") is is_empty
    with pytest.raises(json.JSONDecodeError):
        reply.json()


def test_null_content_is_served_as_such(start):
    assert content(start(faults={"null_content": 1.0}).chat()) is None


def test_content_comes_as_chunks_of_thinking_and_text(start):
    thinking, text = content(start(faults={"chunk_list": 1.0}).chat(response_format=STRICT))
    assert thinking["type"] == "thinking"
    assert thinking["thinking"][0]["type"] == "text"
    assert json.loads(text["text"]).keys() == {"name", "count"}


def test_a_fence_stands_around_the_json(start):
    fenced = content(start(faults={"fenced": 1.0}).chat(response_format=STRICT))
    assert fenced.startswith("```json\n")
    assert json.loads(fenced.removeprefix("```json").removesuffix("```")).keys() == {
        "name",
        "count",
    }


def test_invalid_json_is_no_json_from_any_place_on(start):
    broken = content(start(faults={"invalid_json": 1.0}).chat(response_format=STRICT))
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken[broken.index("{") :])


def test_an_answer_off_its_schema_is_still_json(start):
    answer = json.loads(content(start(faults={"off_schema": 1.0}).chat(response_format=STRICT)))
    assert isinstance(answer, list)


def test_a_cut_answer_says_length_and_is_paid_for(start):
    api = start(faults={"length": 1.0})
    reply = api.chat(response_format=STRICT)
    assert reply.json()["choices"][0]["finish_reason"] == "length"
    assert api.stats()["completion_tokens"] == reply.json()["usage"]["completion_tokens"] > 0
    with pytest.raises(json.JSONDecodeError):
        json.loads(content(reply))


def kinds(rates, bodies, *, seed):
    draws = Draws(seed=seed)
    return [draws.of(body).fault(rates, FAULTS) for body in bodies]


def test_rates_are_kept_and_a_seed_repeats_the_draw():
    bodies = [str(number).encode() for number in range(4000)]
    rates = {"reset": 0.1, "http_500": 0.3}
    first, again, other = [kinds(rates, bodies, seed=seed) for seed in (1, 1, 2)]
    assert first == again != other
    counts = Counter(first)
    assert counts["reset"] == pytest.approx(400, rel=0.2)
    assert counts["http_500"] == pytest.approx(1200, rel=0.1)


def test_the_order_of_requests_does_not_change_who_meets_a_fault():
    bodies = [str(number).encode() for number in range(200)]
    forth = kinds({"reset": 0.5}, bodies, seed=3)
    back = kinds({"reset": 0.5}, bodies[::-1], seed=3)
    assert forth == back[::-1]


def test_the_same_body_may_pass_the_next_time():
    assert set(kinds({"http_500": 0.5}, [b"one body"] * 20, seed=0)) == {"http_500", None}


@pytest.mark.parametrize("faults", [{"flood": 0.1}, {"reset": 1.1}, {"reset": -0.1}])
def test_a_wrong_fault_is_refused_by_naming_the_allowed_kinds(faults):
    with pytest.raises(ValueError, match="http_520"):
        EmulatorSettings(faults=faults)


def test_rates_beyond_one_together_are_refused():
    with pytest.raises(ValueError, match="at most 1"):
        EmulatorSettings(faults={"reset": 0.6, "stall": 0.6})


@pytest.mark.parametrize(
    "settings", [{"engine": "x"}, {"port": -1}, {"latency_s": -1}, {"requests_per_minute": -1}]
)
def test_settings_out_of_bounds_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        EmulatorSettings(**settings)


def test_every_kind_of_the_table_is_allowed():
    assert EmulatorSettings(faults=dict.fromkeys(FAULTS, 0.01)).faults.keys() == FAULTS.keys()
