"""Every kind of fault over a real connection, and the draw that decides who meets one."""

from __future__ import annotations

import json
from collections import Counter

import httpx
import pytest

from vision_pipeline.emulator.faults import FAULTS, FaultDraw
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
    ],
)
def test_an_error_answer_takes_the_place_of_the_reply(start, kind, status, media_type, words):
    api = start(faults={kind: 1.0})
    reply = api.chat()
    assert reply.status_code == status
    assert reply.headers["content-type"] == media_type
    assert words in reply.content
    assert api.stats()["faults"] == {kind: 1}
    assert (api.stats()["served"], api.stats()["refused"]) == (0, 0)


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


def test_rates_are_kept_and_a_seed_repeats_the_draw():
    bodies = [str(number).encode() for number in range(4000)]
    draws = [FaultDraw({"reset": 0.1, "http_500": 0.3}, seed=seed) for seed in (1, 1, 2)]
    first, again, other = [[draw.draw(body) for body in bodies] for draw in draws]
    assert first == again != other
    counts = Counter(first)
    assert counts["reset"] == pytest.approx(400, rel=0.2)
    assert counts["http_500"] == pytest.approx(1200, rel=0.1)


def test_the_order_of_requests_does_not_change_who_meets_a_fault():
    bodies = [str(number).encode() for number in range(200)]
    forth, back = FaultDraw({"reset": 0.5}, seed=3), FaultDraw({"reset": 0.5}, seed=3)
    assert [forth.draw(b) for b in bodies] == [back.draw(b) for b in reversed(bodies)][::-1]


def test_the_same_body_may_pass_the_next_time():
    draw = FaultDraw({"http_500": 0.5}, seed=0)
    assert {draw.draw(b"one body") for _ in range(20)} == {"http_500", None}


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
    assert EmulatorSettings(faults=dict.fromkeys(FAULTS, 0.05)).faults.keys() == FAULTS.keys()
