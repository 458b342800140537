import json

import pytest


@pytest.fixture
def records(command, recipe_file):
    """Runs the recipe with JSON logs; gives how it ended and the records."""

    def run(*arguments):
        ended = command("run", recipe_file, "--log-format", "json", *arguments)
        return ended, [json.loads(line) for line in ended.err.splitlines()]

    return run


def test_each_record_is_a_line_of_json_with_its_ids(records, pictures):
    (pictures / "broken.png").write_bytes(b"no image")
    ended, found = records()
    begins, item, shard, ends = found
    assert ended.code == 1
    assert begins["items"] == 5
    assert item["item_id"] == "broken.png"
    assert item["error_code"] == "unreadable_image"
    assert (shard["rows"], shard["errors"]) == (5, 1)
    assert (ends["ok"], ends["errors"], ends["level"]) == (4, 1, "info")
    assert {record["run_id"] for record in found} == {begins["run_id"]}
    assert item["shard"] == shard["shard"] == 0


def test_why_a_run_stops_is_the_last_record(records):
    ended, found = records("--set", "prompt=nothing")
    assert ended.code == 2
    assert found[-1]["level"] == "error"
    assert found[-1]["exit_code"] == 2
    assert "no template" in found[-1]["message"]


def test_text_has_time_level_and_ids(command, recipe_file, pictures):
    (pictures / "broken.png").write_bytes(b"no image")
    lines = command("run", recipe_file, "--log-format", "text").err.splitlines()
    assert len(lines) == 4
    assert all(" INFO " in line for line in lines)
    assert " item broken.png: unreadable_image: " in lines[1]
    assert " run_id=2" in lines[1]
    assert " shard=0" in lines[1]


def test_the_format_may_stand_in_the_environment(command, recipe_file, monkeypatch):
    monkeypatch.setenv("VISION_PIPELINE_LOG_FORMAT", "json")
    ended = command("run", recipe_file)
    assert json.loads(ended.err.splitlines()[0])["message"].startswith("run ")


def test_the_log_has_what_a_backfill_will_ask_about_before_it_does(command, recipe_file):
    ended = command("backfill", recipe_file, "--slice", ":2", "--log-format", "json")
    found = [json.loads(line) for line in ended.err.splitlines()]
    assert found[0]["message"].startswith("selected: 2 items to ask about, from 0.png to 1.png")
    assert found[0]["run_id"] == found[1]["run_id"]
    again = command("backfill", recipe_file, "--slice", ":2", "--log-format", "text")
    assert "selected: nothing to ask about; left alone: 2 answered before" in again.err
