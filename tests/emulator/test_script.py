"""Settings that change while the emulator runs."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.emulator.options import read_settings
from vision_pipeline.emulator.script import Script, Step, parse_script
from vision_pipeline.emulator.settings import EmulatorSettings


async def test_an_outage_begins_and_ends_at_its_moments(line):
    api = line(
        script=(Step(after_s=30, faults={"http_503": 1.0}), Step(after_s=120, faults={})),
    )
    api.clock.now_s += 500  # the script begins with the first request, not with the emulator
    seen = []
    for after_s in (0, 29.9, 30, 119.9, 120):
        api.clock.now_s = 1500 + after_s
        seen += await api.statuses(1)
    assert seen == [200, 200, 503, 503, 200]


async def test_a_key_is_revoked_after_so_many_requests(line):
    api = line(script=(Step(after_requests=2, api_key="other"),))
    assert await api.statuses(3) == [200, 200, 401]
    assert (await api.http.get("/v1/models")).status_code == 401


async def test_a_halved_quota_keeps_what_was_spent(line):
    api = line(requests_per_minute=10, script=(Step(after_s=10, requests_per_minute=5),))
    assert await api.statuses(4) == [200] * 4
    api.clock.now_s += 10
    assert await api.statuses(2) == [200, 429]
    api.clock.now_s += 50
    assert await api.statuses(5) == [200] * 4 + [429]


async def test_a_bucket_flows_at_its_new_rate_from_the_moment_of_the_step(line):
    api = line(
        requests_per_minute=60,
        limit_kind="bucket",
        burst_s=5,
        script=(Step(after_s=1, requests_per_minute=6),),
    )
    assert await api.statuses(6) == [200] * 5 + [429]
    api.clock.now_s += 40.9  # 1 flows in at the old rate, and the 4 still missing one each 10 s
    assert await api.statuses(1) == [429]
    api.clock.now_s += 0.2
    assert await api.statuses(2) == [200, 429]


async def test_what_a_step_does_not_name_holds_on(line):
    api = line(
        script=(
            Step(after_requests=1, faults={"http_500": 1.0}),
            Step(after_requests=2, requests_per_minute=3),
        ),
    )
    assert await api.statuses(5) == [200, 500, 500, 429, 429]


async def test_a_limit_can_be_lifted(line):
    api = line(requests_per_minute=1, script=(Step(after_requests=2, requests_per_minute=None),))
    assert await api.statuses(4) == [200, 429, 200, 200]


async def test_a_step_at_zero_holds_for_the_first_request(line):
    assert await line(script=(Step(after_s=0, faults={"http_500": 1.0}),)).statuses(1) == [500]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=8),
    st.lists(st.integers(0, 8), min_size=1, max_size=15),
)
def test_the_latest_step_that_is_due_holds_at_every_moment(rows, gaps):
    script = Script([Step(after_s=after_s, latency_s=value) for after_s, value in rows])
    held, now_s = None, 100.0
    for number, gap in enumerate(gaps):
        now_s += gap if number else 0
        for _, step in script.arrive(now_s):
            held = step.latency_s
        due = [
            (after_s, place) for place, (after_s, _) in enumerate(rows) if after_s <= now_s - 100
        ]
        assert held == (rows[max(due)[1]][1] if due else None)


async def test_a_reset_begins_the_script_anew(line):
    api = line(script=(Step(after_requests=1, faults={"http_500": 1.0}),))
    assert await api.statuses(2) == [200, 500]
    await api.http.post("/_emulator/reset")
    assert await api.statuses(2) == [200, 500]


async def test_settings_are_changed_by_hand_at_once(line):
    api = line(requests_per_minute=10)
    changed = await api.http.post(
        "/_emulator/settings", json={"faults": {"http_500": 1}, "requests_per_minute": None}
    )
    assert changed.json() == {
        "faults": {"http_500": 1},
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "latency_s": 0.0,
        "batch_queue_s": 1.0,
        "batch_run_s": 2.0,
    }
    assert await api.statuses(1) == [500]
    await api.http.post("/_emulator/settings", json={"faults": {}})
    assert await api.statuses(1) == [200]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"seed": 1}, "seed: is not one of faults, requests_per_minute"),
        ({"after_s": 1}, "after_s: is not one of"),
        ({"requests_per_minute": -1}, "requests_per_minute: -1 is not a whole number >= 0, or"),
        ({"tokens_per_minute": True}, "tokens_per_minute: True is not"),
        ({"faults": {"flood": 1.0}}, "'flood' is not one of http_500"),
        ({"faults": {"reset": "much"}}, "faults: {'reset': 'much'} is not a mapping of kinds"),
        ({"latency_s": "long"}, "latency_s: 'long' is not a number of seconds"),
        ({"api_key": ""}, "api_key: '' is not a text"),
        ([1], "is not a mapping with keys of"),
        ("no json", "is not a mapping"),
    ],
)
async def test_a_change_that_is_not_allowed_is_refused_by_name(line, body, words):
    api = line()
    refused = await api.http.post("/_emulator/settings", json=body)
    assert refused.status_code == 400
    assert words in refused.json()["detail"]
    assert await api.statuses(1) == [200]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {after_s: 1, faults: {reset: 2}}", "step 1: fault reset: rate 2 is not within 0..1"),
        ("- {after_s: 0}\n- {after_s: -1}", "step 2: after_s: -1 is not a number of seconds >= 0"),
        ("- {after_requests: 1.5}", "step 1: after_requests: 1.5 is not a whole number >= 0"),
        ("- {after: 1}", "step 1: after: is not one of faults, requests_per_minute"),
        ("- {faults: {}}", "step 1: a step has one of after_s and after_requests"),
        ("- {after_s: 1, after_requests: 1}", "step 1: a step has one of"),
        ("- outage", "step 1: 'outage' is not a mapping"),
        ("after_s: 1", "a script is a list of steps"),
        ("[", "while parsing"),
    ],
)
def test_a_wrong_script_names_file_step_and_what_is_allowed(text, words, tmp_path):
    file = tmp_path / "script.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_settings(fault=[], script=file)
    assert f"{file}: " in str(refused.value)
    assert words in str(refused.value)


def test_a_script_file_becomes_steps():
    rows = yaml.safe_load(
        "- {after_s: 30, faults: {http_503: 1}}\n- {after_requests: 5, api_key: null}"
    )
    steps = parse_script(rows, file="s.yaml")
    assert steps == (
        Step(after_s=30, faults={"http_503": 1}),
        Step(after_requests=5, api_key=None),
    )
    assert EmulatorSettings(script=steps).script[1].settings() == {"api_key": None}
