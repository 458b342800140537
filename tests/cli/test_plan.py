"""What `plan` tells before anything is paid."""

import json
import re

import httpx
import pytest


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


def test_plan_tells_the_cost_as_far_as_it_is_known_and_what_would_cost_less(command, recipe_file):
    out = command("plan", recipe_file, "--set", "image.max_side_px=1540").out
    assert "answers: at most 4k tokens; nothing tells how long they are" in out
    assert "cost: at most 0.00" in out
    assert "model.name=ministral-3b-2512" in out
    assert "image.max_side_px=1024" not in out  # images of 64 px are no smaller then


def test_a_sample_is_paid_and_the_run_finds_it(command, recipe_file, synthetic):
    stats = f"{synthetic.base_url}/_emulator/stats"
    before = httpx.get(stats).json()["received"]
    out = command("plan", recipe_file, "--sample", "2").out
    assert "asked 2 of them as a sample, for 0.00" in out
    assert "by 2 replies to this question" in out
    assert httpx.get(stats).json()["received"] == before + 2
    told = json.loads(command("plan", recipe_file, "--json").out)["forecast"]
    assert (told["replies"], told["basis"]) == (2, "this question")
    assert told["usd"]["low"] <= told["usd"]["likely"] <= told["usd"]["high"]
    assert json.loads(command("run", recipe_file, "--json").out)["calls"] == 2


@pytest.mark.parametrize("limits", ["{requests_per_minute: 2}", "{tokens_per_minute: 100}"])
def test_plan_tells_the_time_at_the_limits(command, recipe_file, limits):
    out = command("plan", recipe_file, "--set", f"limits={limits}").out
    which = "requests" if "requests" in limits else "tokens"
    assert re.search(rf"^time: \d+ .* at least, by the limit of {which}$", out, re.MULTILINE)


def test_a_model_without_a_price_costs_nobody_knows_what(command, recipe_file):
    out = command("plan", recipe_file, "--set", "model.name=our-own").out
    assert "cost: the model has no list price" in out
    assert "cheaper" not in out


def test_plan_tells_what_a_batch_job_would_save(command, recipe_file):
    command("plan", recipe_file, "--sample", 2)
    found = command("plan", recipe_file).out
    assert re.search(r"^in a batch job: \S+ \(.*\) USD, which saves \S+$", found, re.MULTILINE)
    assert "in batch" in found.split("cheaper, by --set")[1]
    forecast = json.loads(command("plan", recipe_file, "--json").out)["forecast"]
    half = forecast["usd"]["likely"] / 2
    assert forecast["batch_usd"]["likely"] == pytest.approx(half)
    assert forecast["batch_saves_usd"] == pytest.approx(half)
    assert forecast["cheaper"][0]["batch_usd"]["likely"] > 0


def test_plan_says_whether_a_budget_suffices(command, recipe_file):
    command("plan", recipe_file, "--sample", 2)
    limits = ("--set", "budget.usd=5", "--set", "budget.tokens_per_month=800")
    out = command("plan", recipe_file, *limits).out
    assert "budget.usd: 5.00 of 5.00 left, enough for all calls" in out
    assert "budget.tokens_per_month: " in out
    assert "may not suffice: likely enough for" in out


def test_plan_holds_a_budget_against_the_price_of_how_it_is_asked(command, recipe_file):
    command("plan", recipe_file, "--sample", 2)
    likely = json.loads(command("plan", recipe_file, "--json").out)["forecast"]["usd"]["high"]
    limit = ("--set", f"budget.usd={likely / 1.5}")
    assert "may not suffice" in command("plan", recipe_file, *limit).out
    batch = command("plan", recipe_file, *limit, "--set", "execution.mode=batch").out
    assert "enough for all calls" in batch
