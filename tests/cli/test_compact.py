import json

import pytest

from vision_pipeline.results import load


@pytest.fixture
def run_ids(command, recipe_file, recipe, pictures):
    """Two finished runs of four shards and of one."""
    command("run", recipe_file, "--set", "output.shard_size=1")
    (pictures / "4.png").write_bytes((pictures / "0.png").read_bytes() + b"\0")
    command("run", recipe_file)
    return [run["run_id"] for run in json.loads(command("runs", recipe.output.path, "--json").out)]


def test_finished_runs_are_compacted_and_the_next_run_still_knows_them(
    command, recipe_file, recipe, run_ids
):
    before = load(recipe.output.path)
    ended = command("compact", recipe.output.path)
    assert ended.code == 0
    assert f"{run_ids[0]}: 4 files to 1, " in ended.out
    assert f"{run_ids[1]}: nothing to merge" in ended.out
    assert load(recipe.output.path).equals(before)
    again = json.loads(command("run", recipe_file, "--json").out)
    assert (again["calls"], again["already_answered"]) == (0, 5)


def test_one_run_may_be_named(command, recipe, run_ids):
    ended = command("compact", recipe.output.path, "--run", run_ids[0], "--json")
    assert [each["run_id"] for each in json.loads(ended.out)] == run_ids[:1]


def test_a_run_that_is_not_there_is_refused(command, recipe, run_ids):
    ended = command("compact", recipe.output.path, "--run", "r9")
    assert ended.code == 2
    assert run_ids[0] in ended.err


def test_a_run_that_was_cut_off_is_left_as_it_is(command, recipe, run_ids, tmp_path):
    path = tmp_path / "out" / "runs" / f"{run_ids[0]}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finished_at": None}))
    ended = command("compact", recipe.output.path, "--run", run_ids[0])
    assert ended.code == 2
    assert "is not finished" in ended.err
    assert run_ids[0] not in command("compact", recipe.output.path).out


def test_a_folder_without_runs_is_refused_and_not_made(command, tmp_path):
    ended = command("compact", tmp_path / "nowhere")
    assert ended.code == 2
    assert "no runs here" in ended.err
    assert not (tmp_path / "nowhere").exists()


def test_an_object_store_is_refused(command):
    ended = command("compact", "memory://somewhere")
    assert ended.code == 2
    assert "exchange two folders" in ended.err


def test_no_finished_run_is_said(command, recipe, run_ids, tmp_path):
    for path in (tmp_path / "out" / "runs").iterdir():
        path.write_text(json.dumps(json.loads(path.read_text()) | {"finished_at": None}))
    assert "no finished run" in command("compact", recipe.output.path).out
