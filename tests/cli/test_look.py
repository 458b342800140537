import json


def test_status_counts_rows_and_runs(command, recipe_file, recipe, pictures):
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    command("run", recipe_file)
    ended = command("status", recipe.output.path)
    status = json.loads(command("status", recipe.output.path, "--json").out)
    assert "unreadable_image" in ended.out
    assert "finished" in ended.out
    assert (status["items"], status["ok"], status["errors"]) == (5, 4, {"unreadable_image": 1})


def test_status_of_no_output_folder_exits_2(command, tmp_path):
    ended = command("status", tmp_path)
    assert ended.code == 2
    assert "no results here" in ended.err


def test_runs_are_listed_with_what_each_did(command, recipe_file, recipe, pictures):
    command("run", recipe_file)
    (pictures / "4.png").write_bytes((pictures / "0.png").read_bytes() + b"\0")
    command("run", recipe_file)
    first, second = json.loads(command("runs", recipe.output.path, "--json").out)
    assert (first["items"], first["calls"], first["finished"]) == (4, 4, True)
    assert (second["items"], second["calls"], second["selection"]) == (1, 1, {})
    assert second["begun_at"] < second["finished_at"]
    shown = command("runs", recipe.output.path).out
    assert first["run_id"] in shown
    assert "describe v" in shown
    assert f"{first['begun_at'][:10]} " in shown


def test_runs_of_no_output_folder_exit_2(command, tmp_path):
    ended = command("runs", tmp_path)
    assert ended.code == 2
    assert "no results here" in ended.err


def test_status_tells_replies_that_are_paid_for_and_in_no_row_yet(
    command, recipe_file, recipe, tmp_path
):
    assert command("run", recipe_file, "--max-cost", "0.00075").code == 3
    found = json.loads(command("status", recipe.output.path, "--json").out)
    assert (found["rows"], found["waiting"]["problem"]) == (0, "")
    paid = found["waiting"]["replies"]
    assert 0 < paid < 4
    assert found["waiting"]["cost_usd"] > 0
    shown = command("status", recipe.output.path).out
    assert f"paid for, and in no row yet: {paid} replies, " in shown
    command("run", recipe_file)
    found = json.loads(command("status", recipe.output.path, "--json").out)
    assert (found["rows"], found["waiting"]["replies"]) == (4, 0)
    assert "in no row yet" not in command("status", recipe.output.path).out


def test_status_says_why_paid_replies_are_not_known_and_tells_the_rest(
    command, recipe_file, recipe, tmp_path
):
    command("run", recipe_file, "--max-cost", "0.00075")
    (tmp_path / "out" / "ledger.sqlite").write_bytes(b"no ledger")
    ended = command("status", recipe.output.path)
    assert ended.code == 0
    assert "0 items" in ended.out
    assert "in no row yet: unknown: " in ended.out


def test_a_long_question_hides_no_figures_of_a_run(command, recipe_file, recipe, monkeypatch):
    command("backfill", recipe_file, "--slice", "0:2")
    monkeypatch.setenv("COLUMNS", "80")
    lines = command("runs", recipe.output.path).out.splitlines()
    run_id, *figures = lines[1].split()
    assert len(run_id) == 21
    assert (figures[:4], figures[-1]) == (["2", "2", "0", "2"], "finished")
    assert "backfill by stop 2" in " ".join(" ".join(lines).split()).replace("start 0, ", "")
