import json

import httpx


def test_plan_counts_what_a_run_would_ask(command, recipe_file):
    ended = command("plan", recipe_file, "--json")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert (found["items"], found["to_ask"], found["already_answered"]) == (4, 4, 0)
    assert found["skipped"] == {"not_image": 1}
    # 64..67 x 48 px at 28 px a patch: (3 + 1) * 2 tokens
    assert found["image_tokens"] == 4 * 8


def test_plan_says_by_which_rule_image_tokens_are_counted(command, recipe_file):
    assert "image tokens, exact" in command("plan", recipe_file).out
    ended = command("plan", recipe_file, "--set", "model.name=our-own")
    assert "by the default rule; our-own is not in models.yaml" in ended.out


def test_plan_of_a_folder_of_archives_says_how_to_name_them(command, recipe_file, tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "1.tar").write_bytes(b"")
    ended = command("plan", recipe_file, "--source", tmp_path / "shards")
    assert ended.code == 2
    assert "1 archive" in ended.err
    assert "FOLDER/*.tar" in ended.err


def test_plan_makes_no_call_and_writes_no_run(command, recipe_file, synthetic, tmp_path):
    stats = f"{synthetic.base_url}/_emulator/stats"
    before = httpx.get(stats).json()["received"]
    command("plan", recipe_file)
    assert not (tmp_path / "out" / "runs").exists()
    assert httpx.get(stats).json()["received"] == before


def test_plan_after_a_run_has_nothing_to_ask(command, recipe_file):
    command("run", recipe_file)
    found = json.loads(command("plan", recipe_file, "--json").out)
    assert (found["already_answered"], found["to_ask"]) == (4, 0)


def test_plan_tells_duplicates_and_unreadable_images(command, recipe_file, pictures):
    (pictures / "copy.png").write_bytes((pictures / "0.png").read_bytes())
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ended = command("plan", recipe_file)
    assert "ask the same as another item" in ended.out
    assert "unreadable_image" in ended.out
    assert "broken.png: damaged PNG" in ended.out


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
