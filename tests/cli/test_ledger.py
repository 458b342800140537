import io
import json

import pyarrow.parquet as pq
import pytest

from tests.adapters.ledgers import cut, fill, leaves, overwrite, row, rows
from vision_pipeline.results import load


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    fill(path, [*rows(60), row(3, run_id="run-3")])
    return path


def test_a_ledger_is_found_by_its_recipe_its_output_folder_or_its_own_path(
    command, recipe_file, recipe
):
    command("run", recipe_file)
    named = (recipe_file, recipe.output.path, f"{recipe.output.path}/ledger.sqlite")
    found = [json.loads(command("ledger", "inspect", each, "--json").out) for each in named]
    assert found[0] == found[1] == found[2]
    assert (found[0]["replies"], len(found[0]["runs"])) == (4, 1)


def test_the_ledger_of_an_output_folder_may_be_elsewhere(command, recipe_file, tmp_path):
    shared = tmp_path / "shared.sqlite"
    command("run", recipe_file, "--set", f"output.ledger={shared}")
    (tmp_path / "out" / "runs" / "00.json").write_text("damaged")
    (tmp_path / "out" / "runs" / "zz.json").write_text("{}")
    found = json.loads(command("ledger", "inspect", tmp_path / "out", "--json").out)
    assert (found["path"], found["replies"]) == (str(shared), 4)


@pytest.mark.parametrize("what", ["", "none.sqlite", "none.yaml"])
@pytest.mark.parametrize("name", ["inspect", "verify", "salvage"])
def test_what_is_not_there_exits_2_and_says_so(command, tmp_path, name, what):
    ended = command("ledger", name, tmp_path / what)
    assert ended.code == 2
    assert str(tmp_path / what) in ended.err


def test_inspect_shows_runs_models_and_what_was_asked_again(command, ledger):
    out = command("ledger", "inspect", ledger).out
    assert "61 replies to 60 questions, 1 of them asked again; 30.5000 USD" in out
    assert "run-3" in out
    assert "ledger format 2" in out


def test_inspect_of_an_empty_ledger_says_0(command, tmp_path):
    fill(tmp_path / "l.sqlite", [])
    assert "0 replies" in command("ledger", "inspect", tmp_path / "l.sqlite").out


def test_verify_exits_0_on_a_sound_ledger_and_1_on_another(command, ledger):
    sound = command("ledger", "verify", ledger)
    overwrite(ledger, leaves(ledger)[:3])
    damaged = command("ledger", "verify", ledger)
    found = json.loads(command("ledger", "verify", ledger, "--json").out)
    assert (sound.code, damaged.code) == (0, 1)
    assert "all 61 replies can be used" in sound.out
    assert "vision-pipeline ledger salvage" in damaged.out
    assert found["findings"][0]["fault"] == "damaged_file"


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "new/folder/a.ndjson", "A.PARQUET"])
def test_export_writes_a_whole_file(command, ledger, tmp_path, name):
    ended = command("ledger", "export", ledger, "--out", tmp_path / name)
    assert ended.code == 0
    assert f"61 replies: {tmp_path / name}" in ended.out
    assert (tmp_path / name).stat().st_size > 1000


def test_export_into_the_working_directory(command, ledger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command("ledger", "export", ledger, "--out", "a.parquet")
    assert pq.read_table("a.parquet").num_rows == 61


def test_an_export_that_fails_leaves_no_half_file(command, ledger, tmp_path):
    overwrite(ledger, leaves(ledger)[5:7])
    ended = command("ledger", "export", ledger, "--out", tmp_path / "a.parquet")
    assert ended.code == 2
    assert "vision-pipeline ledger salvage" in ended.err
    assert not list(tmp_path.glob("*a.parquet*"))


def test_an_export_of_another_kind_is_refused(command, ledger):
    ended = command("ledger", "export", ledger, "--out", "a.csv")
    assert (ended.code, "a.csv: must end in .parquet, .jsonl" in ended.err) == (2, True)


def test_prune_shows_what_would_go_and_deletes_it_once_told(command, ledger):
    tried = command("ledger", "prune", ledger, "--run", "run-2", "--dry-run")
    unasked = command("ledger", "prune", ledger, "--run", "run-2")
    done = command("ledger", "prune", ledger, "--run", "run-2", "--yes")
    assert "30 questions have no reply afterwards" in tried.out
    assert (tried.code, unasked.code, done.code) == (0, 2, 0)
    assert "--yes" in unasked.err
    assert "deleted 30 replies" in done.out
    assert "31 replies" in command("ledger", "inspect", ledger).out


def test_prune_as_json_tells_whether_it_deleted(command, ledger):
    arguments = ("ledger", "prune", ledger, "--superseded", "--json")
    tried = json.loads(command(*arguments, "--dry-run").out)
    done = json.loads(command(*arguments, "--yes").out)
    again = json.loads(command(*arguments, "--yes").out)
    assert [each["deleted"] for each in (tried, done, again)] == [False, True, False]
    assert [each["replies"] for each in (tried, done, again)] == [1, 1, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "say which replies"),
        (("--before", "yesterday"), "no date or moment"),
    ],
)
def test_prune_without_a_usable_condition_is_refused(command, ledger, options, message):
    ended = command("ledger", "prune", ledger, *options)
    assert (ended.code, message in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("before", "replies"),
    [("2026-11-22", 0), ("2026-11-22T10:20:00Z", 6), ("2026-11-22 10:20", 6), ("2026-11-23", 61)],
)
def test_prune_takes_days_and_moments(command, ledger, before, replies):
    ended = command("ledger", "prune", ledger, "--before", before, "--dry-run", "--json")
    assert json.loads(ended.out)["replies"] == replies


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "left"), [("y", 31), ("n", 61)])
def test_on_a_terminal_prune_asks(command, ledger, monkeypatch, answer, left):
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    command("ledger", "prune", ledger, "--run", "run-2")
    assert f"{left} replies" in command("ledger", "inspect", ledger).out


def test_salvage_of_a_sound_ledger_changes_nothing(command, ledger, tmp_path):
    ended = command("ledger", "salvage", ledger)
    found = json.loads(command("ledger", "salvage", ledger, "--json").out)
    assert (ended.code, found["salvaged"]) == (0, False)
    assert "nothing to salvage" in ended.out
    assert not list(tmp_path.glob("*damaged*"))


def test_salvage_tells_what_was_saved_lost_and_kept(command, ledger, tmp_path):
    overwrite(ledger, leaves(ledger)[:3])
    ended = command("ledger", "salvage", ledger)
    [kept] = tmp_path.glob("ledger.damaged-*.sqlite")
    assert ended.code == 0
    assert "of run run-1" in ended.out
    assert f"kept: {kept}" in ended.out
    assert json.loads(command("ledger", "verify", ledger, "--json").out)["findings"] == []


def test_salvage_that_lost_nothing_says_so(command, ledger):
    overwrite(ledger, [1])
    assert "nothing is known to be lost" in command("ledger", "salvage", ledger).out


def test_a_run_stops_at_its_start_on_a_damaged_ledger_and_goes_on_after_salvage(
    command, recipe_file, recipe, pictures
):
    output = recipe.output.path
    command("run", recipe_file, "--limit", "3")
    before = load(output).set_index("item_id")["reply_text"]
    cut_ledger = pictures.parent / "out" / "ledger.sqlite"
    cut(cut_ledger, 0.75)
    refused = command("run", recipe_file)
    salvaged = json.loads(command("ledger", "salvage", recipe_file, "--json").out)
    ended = json.loads(command("run", recipe_file, "--json").out)
    after = load(output).set_index("item_id")["reply_text"]
    assert refused.code == 2
    assert f"vision-pipeline ledger salvage {cut_ledger}" in refused.err
    assert salvaged["salvaged"]
    assert (ended["ok"], len(after)) == (1, 4)
    assert after[before.index].to_list() == before.to_list()


def test_an_emptied_ledger_is_not_taken_for_a_new_one(command, recipe_file, pictures):
    command("run", recipe_file, "--limit", "1")
    path = pictures.parent / "out" / "ledger.sqlite"
    path.write_bytes(b"")
    refused = command("run", recipe_file)
    assert (refused.code, path.stat().st_size) == (2, 0)
    assert "the ledger is empty" in refused.err


def test_damage_that_is_met_in_mid_run_exits_3_with_the_same_advice(command, recipe_file, tmp_path):
    command("run", recipe_file, "--limit", "3")
    path = tmp_path / "out" / "ledger.sqlite"
    overwrite(path, leaves(path))
    ended = command("run", recipe_file, "--fresh")
    assert ended.code == 3
    assert f"vision-pipeline ledger salvage {path}" in ended.err
